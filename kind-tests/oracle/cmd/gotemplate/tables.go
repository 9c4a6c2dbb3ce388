package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/engine"
)

// answerTable runs every case of a table and writes the table back with the results. A case is
//
//	#: directives, any number of such lines
//	template
//	----
//	what it prints, or ERROR and the error's text
//	====
//
// Directives are ledger rows, which apply to all cases that follow, and, for one case, "zero" or "strict" (the
// missingkey option). In a table that starts with "#: plain" only Go's own functions are defined; in one that starts with
// "#: helm" each case is the only template of a chart. The data of all cases is data.json next to the table, and outside
// charts an integer, which JSON cannot express.
func answerTable(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(path), "data.json"))
	if err != nil {
		return err
	}
	plain, helm := strings.HasPrefix(string(text), "#: plain\n"), strings.HasPrefix(string(text), "#: helm\n")
	var out strings.Builder
	for i, c := range strings.Split(strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\n===="), "\n====\n") {
		c, _, _ = strings.Cut(c, "\n----\n")
		q := query{Plain: plain}
		q.Template = c
		for strings.HasPrefix(q.Template, "#: ") {
			line, rest, _ := strings.Cut(q.Template, "\n")
			q.Template = rest
			for _, word := range strings.Fields(line) {
				switch word {
				case "zero":
					q.Missing = "zero"
				case "strict":
					q.Missing = "error"
				}
			}
		}
		// Each case gets a fresh copy of the data: functions change it.
		values := map[string]any{}
		if err := json.Unmarshal(raw, &values); err != nil {
			return err
		}
		if !helm {
			values["i"] = -3
		}
		q.Values = values
		render := render
		if helm {
			render = renderChart
		}
		answer, err := render(q)
		if err != nil {
			answer = "ERROR " + err.Error()
		}
		if !utf8.ValidString(answer) || strings.ContainsAny(answer, "\r\x00") || strings.Contains(answer, "\n====\n") {
			return fmt.Errorf("case %d cannot stand in a table: %q gives %q", i+1, c, answer)
		}
		fmt.Fprintf(&out, "%s\n----\n%s\n====\n", c, answer)
	}
	return os.WriteFile(path, []byte(out.String()), 0o644)
}

// renderChart renders the template as the file t.yaml of a chart, as Helm does.
func renderChart(q query) (out string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	c := &chart.Chart{
		Metadata:  &chart.Metadata{Name: "c", Version: "1.2.3", APIVersion: "v2"},
		Templates: []*common.File{{Name: "templates/t.yaml", Data: []byte(q.Template)}},
	}
	options := common.ReleaseOptions{Name: "rel", Namespace: "apps", Revision: 1, IsInstall: true}
	values, err := util.ToRenderValues(c, q.Values.(map[string]any), options, common.DefaultCapabilities.Copy())
	if err != nil {
		return "", err
	}
	files, err := engine.Render(c, values)
	return files["c/templates/t.yaml"], err
}
