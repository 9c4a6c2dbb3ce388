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
	// The path of a packed chart.
	Path string `json:"path"`
	// Whether the chart is loaded once for all renders.
	Cached bool `json:"cached"`
	// Nanoseconds after which no further render starts.
	Turn int64 `json:"turn"`
	// The maximum number of renders.
	Renders int `json:"renders"`
}

type benchAnswer struct {
	Nanoseconds []int64 `json:"nanoseconds"`
	// The CPU time of all renders.
	Processor int64 `json:"processor"`
	// The peak memory of the process.
	Peak int64 `json:"peak"`
	// The bytes of all manifests and hooks.
	Output int `json:"output"`
}

// kept holds the charts that are loaded once for all renders.
var kept = map[string]*chart.Chart{}

// bench renders a chart repeatedly.
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

// size counts the bytes of the manifest without its separators.
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

// processor returns the CPU time of this process in nanoseconds.
func processor() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// peak reads the peak memory of this process from /proc.
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
