package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// What an expression asks for.
type query struct {
	Selectors []selector `json:"selectors"`
}

// A selection of series, and the labels that what stands around it counts on.
type selector struct {
	Name     string    `json:"name"`
	Matchers []matcher `json:"matchers"`
	Labels   []string  `json:"labels"`
}

type matcher struct {
	Label string `json:"label"`
	// `=`, `!=`, `=~` or `!~`.
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

// Reads a JSON list of expressions, and writes a list of what each asks for.
func queries(in io.Reader, out io.Writer) error {
	var expressions []string
	if err := json.NewDecoder(in).Decode(&expressions); err != nil {
		return err
	}
	found := make([]query, 0, len(expressions))
	for _, text := range expressions {
		expression, err := parser.NewParser(parser.Options{}).ParseExpr(text)
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		asked := query{Selectors: []selector{}}
		parser.Inspect(expression, func(node parser.Node, path []parser.Node) error {
			if selection, ok := node.(*parser.VectorSelector); ok {
				asked.Selectors = append(asked.Selectors, of(selection, path))
			}
			return nil
		})
		found = append(found, asked)
	}
	return json.NewEncoder(out).Encode(found)
}

func of(selection *parser.VectorSelector, path []parser.Node) selector {
	found := selector{Name: selection.Name, Matchers: []matcher{}, Labels: []string{}}
	for _, known := range selection.LabelMatchers {
		if known.Name == labels.MetricName {
			continue
		}
		found.Matchers = append(found.Matchers, matcher{known.Name, known.Type.String(), known.Value})
	}
	for _, node := range path {
		switch outer := node.(type) {
		case *parser.AggregateExpr:
			found.Labels = append(found.Labels, outer.Grouping...)
		case *parser.BinaryExpr:
			if outer.VectorMatching != nil {
				found.Labels = append(found.Labels, outer.VectorMatching.MatchingLabels...)
				found.Labels = append(found.Labels, outer.VectorMatching.Include...)
			}
		}
	}
	return found
}
