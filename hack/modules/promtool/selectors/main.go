// selectors reads PromQL expressions and tells what they ask for: one JSON list of texts on standard input, one JSON
// list of the same length on standard output.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// selector is one vector that an expression selects.
type selector struct {
	Metric   string    `json:"metric"`
	Matchers []matcher `json:"matchers"`
}

// matcher is one condition on a label; operator is =, !=, =~ or !~.
type matcher struct {
	Label    string `json:"label"`
	Operator string `json:"operator"`
	Value    string `json:"value"`
}

// question is all that an expression asks for; labels are those by which it groups and joins.
type question struct {
	Error     string     `json:"error,omitempty"`
	Selectors []selector `json:"selectors"`
	Labels    []string   `json:"labels"`
}

func main() {
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		fmt.Fprintln(os.Stderr, "standard input is no JSON list of texts:", err)
		os.Exit(2)
	}
	questions := make([]question, len(texts))
	for index, text := range texts {
		questions[index] = read(text)
	}
	if err := json.NewEncoder(os.Stdout).Encode(questions); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(text string) question {
	found := question{Selectors: []selector{}, Labels: []string{}}
	expression, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		found.Error = err.Error()
		return found
	}
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		switch each := node.(type) {
		case *parser.VectorSelector:
			found.Selectors = append(found.Selectors, describe(each))
		case *parser.AggregateExpr:
			found.Labels = append(found.Labels, each.Grouping...)
		case *parser.BinaryExpr:
			if each.VectorMatching != nil {
				found.Labels = append(found.Labels, each.VectorMatching.MatchingLabels...)
				found.Labels = append(found.Labels, each.VectorMatching.Include...)
			}
		}
		return nil
	})
	return found
}

func describe(vector *parser.VectorSelector) selector {
	found := selector{Metric: vector.Name, Matchers: []matcher{}}
	for _, each := range vector.LabelMatchers {
		if each.Name == labels.MetricName {
			found.Metric = each.Value
			continue
		}
		found.Matchers = append(found.Matchers, matcher{each.Name, each.Type.String(), each.Value})
	}
	return found
}
