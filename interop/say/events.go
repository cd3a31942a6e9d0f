//go:build events

package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"interop/micro"
)

// Generations with the events plugin for JetStream are built with the tag "events".
func init() {
	commands["emit"] = emit
	commands["consume"] = consume
}

// emit publishes events.
func emit(s *settings, args []string) error {
	if len(args) < 2 {
		return errors.New("emit TOPIC JSON...")
	}
	stream, err := micro.NewStream(s.brokerAddress)
	if err != nil {
		return err
	}
	for _, text := range args[1:] {
		if err := stream.Publish(args[0], json.RawMessage(text), micro.EventMetadata(pairs(s.metadata))); err != nil {
			return err
		}
		say("published", map[string]interface{}{"topic": args[0]})
	}
	// The default is to publish behind our back.
	time.Sleep(500 * time.Millisecond)
	return nil
}

// consume prints events as they come, until SIGTERM.
func consume(s *settings, args []string) error {
	if len(args) < 1 {
		return errors.New("consume TOPIC [GROUP]")
	}
	stream, err := micro.NewStream(s.brokerAddress)
	if err != nil {
		return err
	}
	topic, group := args[0], append(args, "")[1]
	options := []micro.ConsumeOption{}
	if group != "" {
		options = append(options, micro.EventGroup(group))
	}
	events, err := stream.Consume(topic, options...)
	if err != nil {
		return err
	}
	say("ready", map[string]interface{}{"topic": topic, "group": group})
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	for {
		select {
		case event := <-events:
			say("message", map[string]interface{}{
				"topic": event.Topic, "id": event.ID, "header": event.Metadata, "body": string(event.Payload), "timestamp": event.Timestamp,
			})
			event.Ack()
		case <-ended:
			return nil
		}
	}
}
