// Package kinds names the types that definitions are made of, so that go.mod pins them.
package kinds

import _ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
