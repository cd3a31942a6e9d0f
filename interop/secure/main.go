// Command secure is a go-micro service, or a client of one, that speaks TLS with a certificate of its own.
//
//	secure serve CERT KEY ADDRESS             answer Say.Hello until SIGTERM
//	secure call CA ADDRESS SERVICE METHOD JSON  call once; exit code 1 when the answer is an error
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"

	"go-micro.dev/v5"
	"go-micro.dev/v5/client"
	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/server"
	"go-micro.dev/v5/transport"
)

// Say is the service.
type Say struct{}

// Request and Response are what Say.Hello takes and gives.
type (
	Request struct {
		Name string `json:"name"`
	}
	Response struct {
		Msg string `json:"msg"`
	}
)

// Hello greets.
func (s *Say) Hello(_ context.Context, request *Request, response *Response) error {
	response.Msg = "Hello " + request.Name
	return nil
}

func main() {
	output := os.Stdout
	os.Stdout = os.Stderr // go-micro logs there
	var err error
	switch {
	case len(os.Args) == 5 && os.Args[1] == "serve":
		err = serve(output, os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 7 && os.Args[1] == "call":
		err = call(output, os.Args[2:])
	default:
		err = fmt.Errorf("usage: secure serve CERT KEY ADDRESS | secure call CA ADDRESS SERVICE METHOD JSON")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "secure:", err)
		os.Exit(1)
	}
}

func serve(output *os.File, cert, key, address string) error {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	var made server.Server = server.NewRPCServer(
		server.Name("srv.secure"), server.Address(address), server.Registry(registry.NewMemoryRegistry()),
		server.Transport(transport.NewHTTPTransport(transport.TLSConfig(config))),
	)
	if err := made.Handle(made.NewHandler(&Say{})); err != nil {
		return err
	}
	ready := micro.AfterStart(func() error {
		_, err := fmt.Fprintln(output, made.Options().Address)
		return err
	})
	return micro.NewService(micro.Server(made), micro.Registry(registry.NewMemoryRegistry()), ready).Run()
}

func call(output *os.File, args []string) error {
	pem, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	made := client.NewClient(
		client.Transport(transport.NewHTTPTransport(transport.TLSConfig(config))),
		client.Registry(registry.NewMemoryRegistry()),
	)
	var response json.RawMessage
	request := made.NewRequest(args[2], args[3], json.RawMessage(args[4]), client.WithContentType("application/json"))
	if err := made.Call(context.Background(), request, &response, client.WithAddress(args[1])); err != nil {
		return err
	}
	_, err = fmt.Fprintln(output, string(response))
	return err
}
