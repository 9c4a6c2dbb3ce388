// Command golang answers with the results of Go's standard library for texts.
package main

import (
	"encoding/json"
	"math"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"time"
	"unicode"

	"flux.local/oracle/serve"
)

type textRequest struct {
	Text []byte `json:"text"`
}

type regexpRequest struct {
	Pattern []byte   `json:"pattern"`
	Texts   [][]byte `json:"texts"`
}

type matchRequest struct {
	Pattern []byte   `json:"pattern"`
	Names   [][]byte `json:"names"`
}

type floatRequest struct {
	Bits uint64 `json:"bits"`
}

type numberRequest struct {
	Text []byte `json:"text"`
	Base int    `json:"base"`
}

func main() {
	serve.Run(serve.Modes{
		"quote":    serve.Typed(quote),
		"unicode":  serve.Typed(classes),
		"regexp":   serve.Typed(matches),
		"path":     serve.Typed(paths),
		"match":    serve.Typed(match),
		"duration": serve.Typed(duration),
		"url":      serve.Typed(parse),
		"json":     serve.Typed(marshal),
		"float":    serve.Typed(float),
		"number":   serve.Typed(number),
	})
}

func quote(r textRequest) (any, error) {
	return []any{strconv.Quote(string(r.Text)), strconv.CanBackquote(string(r.Text))}, nil
}

// classes returns the runes of the text that are printable, letters, digits, or white space, and the text in upper and
// lower case.
func classes(r textRequest) (any, error) {
	var print, letter, digit, space, upper, lower []rune
	for _, c := range string(r.Text) {
		if unicode.IsPrint(c) {
			print = append(print, c)
		}
		if unicode.IsLetter(c) {
			letter = append(letter, c)
		}
		if unicode.IsDigit(c) {
			digit = append(digit, c)
		}
		if unicode.IsSpace(c) {
			space = append(space, c)
		}
		upper, lower = append(upper, unicode.ToUpper(c)), append(lower, unicode.ToLower(c))
	}
	return []string{string(print), string(letter), string(digit), string(space), string(upper), string(lower)}, nil
}

func matches(r regexpRequest) (any, error) {
	re, err := regexp.Compile(string(r.Pattern))
	if err != nil {
		return nil, err
	}
	answers := []bool{}
	for _, text := range r.Texts {
		answers = append(answers, re.Match(text))
	}
	return answers, nil
}

func paths(r textRequest) (any, error) {
	p := string(r.Text)
	return []string{path.Clean(p), path.Base(p), path.Dir(p), path.Ext(p), path.Join("a/b", p)}, nil
}

func match(r matchRequest) (any, error) {
	answers := []bool{}
	for _, name := range r.Names {
		matched, err := path.Match(string(r.Pattern), string(name))
		if err != nil {
			return nil, err
		}
		answers = append(answers, matched)
	}
	return answers, nil
}

func duration(r textRequest) (any, error) {
	d, err := time.ParseDuration(string(r.Text))
	if err != nil {
		return nil, err
	}
	return []string{strconv.FormatInt(int64(d), 10), d.String()}, nil
}

func parse(r textRequest) (any, error) {
	u, err := url.Parse(string(r.Text))
	if err != nil {
		return nil, err
	}
	return []string{u.String(), u.Hostname(), u.Scheme, u.Path}, nil
}

func marshal(r textRequest) (any, error) {
	b, err := json.Marshal(string(r.Text))
	return string(b), err
}

func float(r floatRequest) (any, error) {
	f := math.Float64frombits(r.Bits)
	b, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	return []string{string(b), strconv.FormatFloat(f, 'g', -1, 64), strconv.FormatFloat(float64(float32(f)), 'g', -1, 32)}, nil
}

func number(r numberRequest) (any, error) {
	n, err := strconv.ParseInt(string(r.Text), r.Base, 64)
	if err != nil {
		return nil, err
	}
	return strconv.FormatInt(n, 10), nil
}
