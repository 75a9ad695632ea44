// oci-validate checks a file against the JSON schemas of the OCI image specification.
//
//	oci-validate index|manifest|config|layout FILE   (FILE "-" is standard input)
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/image-spec/schema"
)

var validators = map[string]schema.Validator{
	"index":    schema.ValidatorMediaTypeImageIndex,
	"manifest": schema.ValidatorMediaTypeManifest,
	"config":   schema.ValidatorMediaTypeImageConfig,
	"layout":   schema.ValidatorMediaTypeLayoutHeader,
}

func main() {
	if len(os.Args) != 3 || validators[os.Args[1]] == "" {
		fmt.Fprintln(os.Stderr, "usage: oci-validate index|manifest|config|layout FILE")
		os.Exit(2)
	}
	kind, file := os.Args[1], os.Args[2]
	text, err := read(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, "oci-validate:", err)
		os.Exit(2)
	}
	if err := validators[kind].Validate(bytes.NewReader(text)); err != nil {
		fmt.Fprintf(os.Stderr, "oci-validate: %s is not a valid %s: %v\n", file, kind, err)
		os.Exit(1)
	}
	fmt.Println("valid", kind)
}

func read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(file)
}
