// Says what GitOps tools make of objects: one object as a JSON line on standard input, one verdict as a JSON line on
// standard output. The only argument is the health script that Argo CD is given.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// A verdict on one object.
type verdict struct {
	Kstatus        string `json:"kstatus"`
	KstatusMessage string `json:"kstatusMessage"`
	ArgoCD         string `json:"argoCD"`
	ArgoCDMessage  string `json:"argoCDMessage"`
}

func main() {
	if err := run(os.Args, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(arguments []string, objects io.Reader, verdicts io.Writer) error {
	if len(arguments) != 2 {
		return fmt.Errorf("usage: %s HEALTH.LUA < objects.jsonl", arguments[0])
	}
	script, err := os.ReadFile(arguments[1])
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(objects)
	// A status of 256 KiB, and some more.
	lines.Buffer(nil, 4<<20)
	encoder := json.NewEncoder(verdicts)
	for lines.Scan() {
		verdict, err := judge(string(script), lines.Bytes())
		if err != nil {
			return err
		}
		if err := encoder.Encode(verdict); err != nil {
			return err
		}
	}
	return lines.Err()
}

func judge(script string, line []byte) (verdict, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(line); err != nil {
		return verdict{}, err
	}
	computed, err := status.Compute(object)
	if err != nil {
		return verdict{}, fmt.Errorf("kstatus of %s: %w", object.GetName(), err)
	}
	health, err := healthOf(script, object)
	if err != nil {
		return verdict{}, fmt.Errorf("health of %s: %w", object.GetName(), err)
	}
	return verdict{
		Kstatus:        computed.Status.String(),
		KstatusMessage: computed.Message,
		ArgoCD:         health.status,
		ArgoCDMessage:  health.message,
	}, nil
}
