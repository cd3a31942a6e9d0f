package main

import (
	"context"
	"fmt"
	"time"

	"interop/micro"
)

// Say has one method for each thing that a caller may have to cope with.
type Say struct{}

type Name struct {
	Name string `json:"name"`
}

type Greeting struct {
	Msg string `json:"msg"`
}

// Hello is the good answer.
func (s *Say) Hello(_ context.Context, in *Name, out *Greeting) error {
	out.Msg = "Hello " + in.Name
	return nil
}

// Fault is the error that is wanted: coded, or plain text when it has no code.
type Fault struct {
	Id     string `json:"id"`
	Code   int32  `json:"code"`
	Detail string `json:"detail"`
}

func (f *Fault) err() error {
	if f.Code == 0 {
		return fmt.Errorf("%s", f.Detail)
	}
	return micro.NewError(f.Id, f.Detail, f.Code)
}

// Fail answers the error that it is asked for.
func (s *Say) Fail(_ context.Context, in *Fault, _ *Greeting) error {
	return in.err()
}

type Pause struct {
	Ms int64 `json:"ms"`
}

// Slow answers after a while, whatever the caller's deadline was.
func (s *Say) Slow(_ context.Context, in *Pause, out *Pause) error {
	time.Sleep(time.Duration(in.Ms) * time.Millisecond)
	out.Ms = in.Ms
	return nil
}

type Metadata struct {
	Header map[string]string `json:"header"`
}

// Meta answers the metadata that arrived.
func (s *Say) Meta(ctx context.Context, _ *Name, out *Metadata) error {
	out.Header, _ = micro.FromContext(ctx)
	return nil
}

type Number struct {
	Id int64 `json:"id"`
}

// Big answers the number that it is given, for those that a double cannot hold.
func (s *Say) Big(_ context.Context, in *Number, out *Number) error {
	out.Id = in.Id
	return nil
}

// Text answers in protobuf: google.protobuf.StringValue both ways.
func (s *Say) Text(_ context.Context, in *micro.StringValue, out *micro.StringValue) error {
	out.Value = "Hello " + in.Value
	return nil
}

type Ask struct {
	Name  string `json:"name"`
	Count int    `json:"count"` // answers to this message
	Last  bool   `json:"last"`  // end the stream afterwards
	Fault *Fault `json:"fault"` // end the stream with this error
}

// Stream answers each message with so many of its own, until the caller or a message says that it is over.
func (s *Say) Stream(_ context.Context, stream micro.Stream) error {
	for {
		var in Ask
		if err := stream.Recv(&in); err != nil {
			return nil // the caller is done
		}
		if in.Fault != nil {
			return in.Fault.err()
		}
		for n := 1; n <= in.Count; n++ {
			if err := stream.Send(&Greeting{Msg: fmt.Sprintf("Hello %s %d", in.Name, n)}); err != nil {
				return err
			}
			// go-micro v2.6 to v6 share one buffer among answers that wait to be written: give each its time.
			time.Sleep(50 * time.Millisecond)
		}
		if in.Last {
			return nil
		}
	}
}

// Collect takes messages until the caller is done, and answers once how many there were.
func (s *Say) Collect(_ context.Context, stream micro.Stream) error {
	count := 0
	for {
		var in Ask
		if err := stream.Recv(&in); err != nil {
			return stream.Send(&Greeting{Msg: fmt.Sprintf("%d messages", count)})
		}
		count++
	}
}
