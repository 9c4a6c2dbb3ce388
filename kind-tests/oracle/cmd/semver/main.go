// Command semver answers with the result of Masterminds/semver for versions and constraints.
package main

import (
	"github.com/Masterminds/semver/v3"

	"flux.local/oracle/serve"
)

type versionRequest struct {
	Text string `json:"text"`
}

type checkRequest struct {
	Constraint string   `json:"constraint"`
	Versions   []string `json:"versions"`
}

func main() {
	serve.Run(serve.Modes{
		"parse":  serve.Typed(parse(semver.NewVersion)),
		"strict": serve.Typed(parse(semver.StrictNewVersion)),
		"check":  serve.Typed(check),
	})
}

func parse(read func(string) (*semver.Version, error)) func(versionRequest) (any, error) {
	return func(r versionRequest) (any, error) {
		v, err := read(r.Text)
		if err != nil {
			return nil, err
		}
		return []any{v.String(), v.Original(), v.Prerelease(), v.Metadata()}, nil
	}
}

// check reports for each version whether it is in the range, and if not, why.
func check(r checkRequest) (any, error) {
	c, err := semver.NewConstraint(r.Constraint)
	if err != nil {
		return nil, err
	}
	answers := []any{}
	for _, text := range r.Versions {
		v, err := semver.NewVersion(text)
		if err != nil {
			return nil, err
		}
		reasons := []string{}
		if _, errs := c.Validate(v); errs != nil {
			for _, e := range errs {
				reasons = append(reasons, e.Error())
			}
		}
		answers = append(answers, []any{c.Check(v), reasons})
	}
	return answers, nil
}
