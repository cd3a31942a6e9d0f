package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"interop/micro"
)

// call prints the answer, or the error as the service's callers get it.
func call(s *settings, args []string) error {
	if len(args) < 2 {
		return errors.New("call SERVICE METHOD [JSON]")
	}
	made, err := service(s)
	if err != nil {
		return err
	}
	out, err := payload(s, append(args, "{}")[2])
	if err != nil {
		return err
	}
	request := made.Client().NewRequest(args[0], args[1], out, micro.WithContentType(s.contentType))
	in := answer(s)
	began := time.Now()
	err = made.Client().Call(outgoing(s), request, in, calling(s)...)
	seconds := time.Since(began).Seconds()
	if err != nil {
		say("error", map[string]interface{}{"error": fault(err), "seconds": seconds})
		os.Exit(1)
	}
	say("answer", map[string]interface{}{"body": shown(in), "seconds": seconds})
	return nil
}

// stream sends one message after the other and prints all that comes back.
func stream(s *settings, args []string) error {
	if len(args) < 3 {
		return errors.New("stream SERVICE METHOD JSON...")
	}
	made, err := service(s)
	if err != nil {
		return err
	}
	first := json.RawMessage(args[2])
	request := made.Client().NewRequest(args[0], args[1], &first, micro.WithContentType(s.contentType), micro.StreamingRequest())
	opened, err := made.Client().Stream(outgoing(s), request, calling(s)...)
	if err != nil {
		say("error", map[string]interface{}{"error": fault(err)})
		os.Exit(1)
	}
	for _, arg := range args[2:] {
		message := json.RawMessage(arg)
		if err := opened.Send(&message); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond) // see Say.Stream
	}
	for {
		var in json.RawMessage
		if err := opened.Recv(&in); errors.Is(err, io.EOF) || err != nil && err.Error() == "EOS" {
			say("end", map[string]interface{}{})
			return opened.Close()
		} else if err != nil {
			say("error", map[string]interface{}{"error": fault(err)})
			os.Exit(1)
		}
		say("answer", map[string]interface{}{"body": in})
	}
}

func outgoing(s *settings) context.Context {
	return micro.NewContext(context.Background(), pairs(s.metadata))
}

func calling(s *settings) []micro.CallOption {
	options := []micro.CallOption{micro.WithRequestTimeout(s.timeout), micro.WithDialTimeout(s.timeout)}
	if s.to != "" {
		options = append(options, micro.WithAddress(s.to))
	}
	return options
}

// payload is what goes into a request or message: JSON as it stands, or a protobuf message.
func payload(s *settings, text string) (interface{}, error) {
	if s.text {
		return &micro.StringValue{Value: text}, nil
	}
	out := json.RawMessage(text)
	if !json.Valid(out) {
		return nil, errors.New("not JSON: " + text)
	}
	return &out, nil
}

func answer(s *settings) interface{} {
	if s.text {
		return &micro.StringValue{}
	}
	return &json.RawMessage{}
}

func shown(in interface{}) interface{} {
	if text, is := in.(*micro.StringValue); is {
		return text.Value
	}
	return in
}

// fault is the JSON of a go-micro error, or the text of another.
func fault(err error) interface{} {
	if text := []byte(err.Error()); json.Valid(text) {
		return json.RawMessage(text)
	}
	return err.Error()
}
