package provider

import (
	"bytes"
	_ "embed"
	"fmt"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:embed providers.yaml
var providersYAML []byte

// contents is what providers.yaml holds.
type contents struct {
	Issuers   []Issuer   `yaml:"issuers"`
	Providers []Provider `yaml:"providers"`
}

// table reads the embedded table once. A table that cannot be read is a
// mistake of the program, which its tests find.
var table = sync.OnceValue(func() contents {
	c, err := decode(providersYAML)
	if err != nil {
		panic(fmt.Sprintf("internal error: providers.yaml: %v", err))
	}
	return c
})

// decode reads a table. Unknown keys are errors.
func decode(data []byte) (contents, error) {
	var c contents
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	err := d.Decode(&c)
	return c, err
}
