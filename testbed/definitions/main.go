// Says what an API server has against custom resource definitions, one line for each fault; nothing if it takes them. It is the
// server's own code that decides, down to the estimated cost of each rule, which differs from one version to the next: so
// there is a program of each version.
package main

import (
	"context"
	"fmt"
	"os"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

func main() {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	// As the server reads them: strictly, with defaults, in the form that it works on.
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder()
	for _, file := range os.Args[1:] {
		if err := judge(decoder, file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			os.Exit(1)
		}
	}
}

func judge(decoder runtime.Decoder, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	object, _, err := decoder.Decode(text, nil, nil)
	if err != nil {
		return err
	}
	definition, isOne := object.(*apiextensions.CustomResourceDefinition)
	if !isOne {
		return fmt.Errorf("not a custom resource definition, but %T", object)
	}
	for _, fault := range validation.ValidateCustomResourceDefinition(context.Background(), definition) {
		fmt.Printf("%s: %v\n", file, fault)
	}
	return nil
}
