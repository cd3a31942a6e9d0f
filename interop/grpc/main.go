// Command grpc is a go-micro service that speaks gRPC, and a client that knows nothing of a service's types: it sends and
// takes bytes.Frame, by gRPC or by go-micro's own protocol.
//
//	grpc serve                                   answer Say.Hello and stream Say.Count until SIGTERM
//	grpc call PROTOCOL ADDRESS SERVICE METHOD JSON  call once (grpc or mucp); exit code 1 when the answer is an error
package main

import (
	"context"
	"fmt"
	"os"

	"go-micro.dev/v5"
	"go-micro.dev/v5/client"
	clientgrpc "go-micro.dev/v5/client/grpc"
	"go-micro.dev/v5/codec/bytes"
	"go-micro.dev/v5/errors"
	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/server"
	servergrpc "go-micro.dev/v5/server/grpc"
)

// Say is the service.
type Say struct{}

// Request and Response are what Say.Hello takes and gives.
type (
	Request struct {
		Name  string `json:"name"`
		Count int    `json:"count"`
	}
	Response struct {
		Msg string `json:"msg"`
	}
)

// Hello greets, but for nobody.
func (s *Say) Hello(_ context.Context, request *Request, response *Response) error {
	if request.Name == "" {
		return errors.BadRequest("srv.grpc", "whom?")
	}
	response.Msg = "Hello " + request.Name
	return nil
}

func main() {
	output := os.Stdout
	os.Stdout = os.Stderr // go-micro logs there
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		err = serve(output)
	case len(os.Args) == 7 && os.Args[1] == "call":
		err = call(output, os.Args[2:])
	default:
		err = fmt.Errorf("usage: grpc serve | grpc call grpc|mucp ADDRESS SERVICE METHOD JSON")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grpc:", err)
		os.Exit(1)
	}
}

func serve(output *os.File) error {
	known := registry.NewMemoryRegistry()
	made := servergrpc.NewServer(server.Name("srv.grpc"), server.Address("127.0.0.1:0"), server.Registry(known))
	if err := made.Handle(made.NewHandler(&Say{})); err != nil {
		return err
	}
	ready := micro.AfterStart(func() error {
		found, err := known.GetService("srv.grpc")
		if err != nil {
			return err
		}
		node := found[0].Nodes[0]
		_, err = fmt.Fprintln(output, node.Address, node.Metadata["protocol"])
		return err
	})
	return micro.NewService(micro.Server(made), micro.Registry(known), ready).Run()
}

func call(output *os.File, args []string) error {
	known := client.Registry(registry.NewMemoryRegistry())
	made, kind := client.NewClient(known), "application/json"
	if args[0] == "grpc" {
		made, kind = clientgrpc.NewClient(known), "application/grpc+json"
	}
	var answer bytes.Frame
	request := made.NewRequest(args[2], args[3], &bytes.Frame{Data: []byte(args[4])}, client.WithContentType(kind))
	if err := made.Call(context.Background(), request, &answer, client.WithAddress(args[1])); err != nil {
		return err
	}
	_, err := fmt.Fprintln(output, string(answer.Data))
	return err
}
