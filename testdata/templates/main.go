// Renders templates with Go's own text/template, as ko does. Its argument is a file with a JSON list of templates;
// for each it prints a line of JSON: {"out": …}, or {"error": …} if it can't be rendered or isn't UTF-8.
package main

import (
	"bytes"
	"encoding/json"
	"log"
	"os"
	"text/template"
	"unicode/utf8"
)

// The same data as in tests/it/template.rs.
var data = map[string]any{
	"Env":       map[string]string{"GOOS": "linux", "GOARCH": "arm64", "VERSION": "1.2.3", "EMPTY": "", "ODD": "a <b>&'c'\"=\\ é\t%"},
	"GoEnv":     map[string]string{"GOOS": "linux", "GOROOT": "/usr/local/go"},
	"Date":      "2020-09-13T12:26:40Z",
	"Timestamp": int64(1600000000),
	"Git": map[string]any{
		"Branch": "main", "Tag": "v1.2.3", "ShortCommit": "abc1234", "CommitTimestamp": int64(1700000000),
		"IsDirty": true, "IsClean": false, "TreeState": "dirty",
	},
	"List":  []string{"a", "b", "c"},
	"Any":   []any{1, "x", nil, true, 2.5, []any{"in", 7}, map[string]any{"k": "v"}},
	"None":  []string{},
	"Nil":   nil,
	"Zero":  0,
	"Neg":   -42,
	"Float": 1234.5678,
	"Map":   map[string]any{"b": 2, "a": "one", "n": nil},
}

func render(text string) (string, error) {
	t, err := template.New("argsTmpl").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return "", err
	}
	return out.String(), nil
}

func main() {
	raw, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var templates []string
	if err := json.Unmarshal(raw, &templates); err != nil {
		log.Fatal(err)
	}
	lines := json.NewEncoder(os.Stdout)
	for _, text := range templates {
		line := map[string]string{}
		out, err := render(text)
		switch {
		case err != nil:
			line["error"] = err.Error()
		case !utf8.ValidString(out):
			line["error"] = "not UTF-8"
		default:
			line["out"] = out
		}
		if err := lines.Encode(line); err != nil {
			log.Fatal(err)
		}
	}
}
