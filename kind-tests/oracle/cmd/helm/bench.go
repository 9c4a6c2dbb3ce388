package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	release "helm.sh/helm/v4/pkg/release/v1"
)

type benchRequest struct {
	// Where a packed chart lies.
	Path string `json:"path"`
	// Whether the chart is loaded once for all renders.
	Cached bool `json:"cached"`
	// Nanoseconds after which no further render begins.
	Turn int64 `json:"turn"`
	// The most renders.
	Renders int `json:"renders"`
}

type benchAnswer struct {
	Nanoseconds []int64 `json:"nanoseconds"`
	// The processor time of all of them.
	Processor int64 `json:"processor"`
	// The most memory that the process had.
	Peak int64 `json:"peak"`
	// The bytes of all manifests and hooks.
	Output int `json:"output"`
}

// kept are the charts that were loaded for more than one render.
var kept = map[string]*chart.Chart{}

// bench renders a chart over and over.
func bench(r benchRequest) (any, error) {
	var answer benchAnswer
	if r.Cached && kept[r.Path] == nil {
		c, err := archived(r.Path)
		if err != nil {
			return nil, err
		}
		if _, err := install().Run(c, map[string]any{}); err != nil {
			return nil, err
		}
		kept[r.Path] = c
	}
	started, processorBefore := time.Now(), processor()
	for len(answer.Nanoseconds) < r.Renders && (len(answer.Nanoseconds) == 0 || time.Since(started).Nanoseconds() < r.Turn) {
		before := time.Now()
		c := kept[r.Path]
		if c == nil {
			var err error
			if c, err = archived(r.Path); err != nil {
				return nil, err
			}
		}
		result, err := install().Run(c, map[string]any{})
		if err != nil {
			return nil, err
		}
		answer.Nanoseconds = append(answer.Nanoseconds, time.Since(before).Nanoseconds())
		rendered, ok := result.(*release.Release)
		if !ok {
			return nil, fmt.Errorf("a release of type %T", result)
		}
		answer.Output = size(rendered)
	}
	answer.Processor = processor() - processorBefore
	answer.Peak = peak()
	return answer, nil
}

func archived(path string) (*chart.Chart, error) {
	archive, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return loader.LoadArchive(bytes.NewReader(archive))
}

// size counts what the manifest says beside its separators.
func size(rendered *release.Release) int {
	bytes := 0
	for _, document := range strings.Split("\n"+strings.TrimSuffix(rendered.Manifest, "\n"), "\n---\n# Source: ")[1:] {
		_, content, _ := strings.Cut(document, "\n")
		bytes += len(content)
	}
	for _, hook := range rendered.Hooks {
		bytes += len(hook.Manifest)
	}
	return bytes
}

// processor tells how many nanoseconds of processor time this process took.
func processor() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// peak reads what Linux says of this process.
func peak() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	var kibibytes int64
	if _, after, found := strings.Cut(string(status), "VmHWM:"); found {
		_, _ = fmt.Sscan(after, &kibibytes)
	}
	return kibibytes << 10
}
