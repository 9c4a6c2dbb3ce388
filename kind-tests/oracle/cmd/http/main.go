// Command http answers with the result of Go's net/http for servers, certificates and proxies: the status, or the
// text of the error.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"flux.local/oracle/serve"
)

type request struct {
	Method string `json:"method"`
	URL    string `json:"url"`
	// PEM texts; an empty authority trusts nothing.
	CA   string `json:"ca"`
	Cert string `json:"cert"`
	Key  string `json:"key"`
	// The address of a proxy, if any.
	Proxy string `json:"proxy"`
	// In milliseconds; zero is no timeout.
	Timeout int `json:"timeout"`
}

func main() {
	serve.Run(serve.Modes{"send": serve.Typed(send)})
}

func send(r request) (any, error) {
	pool := x509.NewCertPool()
	if r.CA != "" && !pool.AppendCertsFromPEM([]byte(r.CA)) {
		return nil, errors.New("failed to parse CA certificate")
	}
	config := &tls.Config{RootCAs: pool}
	if r.Cert != "" {
		pair, err := tls.X509KeyPair([]byte(r.Cert), []byte(r.Key))
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	transport.Proxy = nil
	transport.DisableKeepAlives = true
	if r.Proxy != "" {
		proxy, err := url.Parse(r.Proxy)
		if err != nil {
			return nil, err
		}
		transport.Proxy = http.ProxyURL(proxy)
	}
	client := &http.Client{Transport: transport, Timeout: time.Duration(r.Timeout) * time.Millisecond}
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	message, err := http.NewRequest(method, r.URL, strings.NewReader(""))
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(message)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return nil, err
	}
	return answer.StatusCode, nil
}
