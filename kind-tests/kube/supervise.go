package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// plan is what the harness asks `kube supervise FILE` to keep running.
//
// A dedicated supervisor gives the programs a parent that lives exactly as long as they should: no orphans
// when a test process dies, and no zombies under a PID 1 that does not reap.
type plan struct {
	Programs []program `json:"programs"`
	// EndWithStdin ends everything when standard input closes, which happens however the owner dies.
	EndWithStdin bool `json:"endWithStdin"`
	// IdleFile and IdleSeconds end everything when the file has not been touched for that long.
	IdleFile    string `json:"idleFile"`
	IdleSeconds int    `json:"idleSeconds"`
}

type program struct {
	Name string `json:"name"`
	// Path is the executable; empty means this binary, called under Name.
	Path string   `json:"path"`
	Args []string `json:"args"`
	Env  []string `json:"env"`
	Log  string   `json:"log"`
	// After delays the start until this URL answers 200 (its certificate is not verified).
	After string `json:"after"`
	// Graceful programs get SIGTERM and some time; the others are killed, since their state is not kept.
	Graceful bool `json:"graceful"`
}

const graceful = 10 * time.Second

type running struct {
	program
	process *os.Process
	ended   chan struct{}
}

func runSupervisor() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: kube supervise PLAN.json")
		os.Exit(2)
	}
	var p plan
	text, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		log.Fatal(err)
	}

	stop := make(chan string, len(p.Programs)*2+4)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() { stop <- fmt.Sprint("signal: ", <-signals) }()
	if p.EndWithStdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop <- "the owner has gone"
		}()
	}
	if p.IdleFile != "" && p.IdleSeconds > 0 {
		go watchIdle(p.IdleFile, time.Duration(p.IdleSeconds)*time.Second, stop)
	}

	startable := make(chan program)
	for _, prog := range p.Programs {
		go func() {
			if prog.After != "" {
				waitFor(prog.After)
			}
			startable <- prog
		}()
	}

	// The programs die with the thread that started them, so one thread is reserved for that.
	runtime.LockOSThread()
	var all []*running
	for {
		select {
		case prog := <-startable:
			r, err := start(prog, stop)
			if err != nil {
				stop <- fmt.Sprintf("%s: %v", prog.Name, err)
				continue
			}
			all = append(all, r)
		case reason := <-stop:
			log.Print("ending: ", reason)
			end(all)
			return
		}
	}
}

func start(prog program, stop chan<- string) (*running, error) {
	path := prog.Path
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		path = self
	}
	output, err := os.OpenFile(prog.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	cmd := exec.Command(path)
	cmd.Args = append([]string{prog.Name}, prog.Args...)
	cmd.Env = append(os.Environ(), prog.Env...)
	cmd.Stdout, cmd.Stderr = output, output
	// Its own process group shields it from a Ctrl-C meant for the owner; the death signal covers a killed supervisor.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	log.Printf("started %s, pid %d", prog.Name, cmd.Process.Pid)
	r := &running{program: prog, process: cmd.Process, ended: make(chan struct{})}
	go func() {
		err := cmd.Wait()
		close(r.ended)
		stop <- fmt.Sprintf("%s has ended (%v), see %s", prog.Name, err, prog.Log)
	}()
	return r, nil
}

// end kills the programs that may be killed, then terminates the graceful ones, last started first.
func end(all []*running) {
	for _, r := range all {
		if !r.Graceful {
			_ = r.process.Kill()
		}
	}
	for i := len(all) - 1; i >= 0; i-- {
		r := all[i]
		if r.Graceful {
			_ = r.process.Signal(syscall.SIGTERM)
			select {
			case <-r.ended:
			case <-time.After(graceful):
				_ = r.process.Kill()
			}
		}
		<-r.ended
	}
}

func waitFor(url string) {
	client := http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // loopback
	}
	for {
		if response, err := client.Get(url); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(30 * time.Millisecond)
	}
}

func watchIdle(file string, limit time.Duration, stop chan<- string) {
	for {
		time.Sleep(10 * time.Second)
		info, err := os.Stat(file)
		if err != nil {
			stop <- "its folder is gone"
			return
		}
		if time.Since(info.ModTime()) > limit {
			stop <- fmt.Sprintf("unused for %s", limit)
			return
		}
	}
}
