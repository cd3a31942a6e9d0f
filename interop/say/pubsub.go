package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"interop/micro"
)

// publish hands messages to the broker, as a client of go-micro does or directly.
func publish(s *settings, args []string) error {
	if len(args) < 2 {
		return errors.New("publish TOPIC JSON...")
	}
	made, err := service(s)
	if err != nil {
		return err
	}
	broker := made.Options().Broker
	if err := broker.Connect(); err != nil {
		return err
	}
	for _, text := range args[1:] {
		if s.raw {
			header := pairs(s.metadata)
			header["Content-Type"] = s.contentType
			err = broker.Publish(args[0], &micro.BrokerMessage{Header: header, Body: []byte(text)})
		} else {
			var out interface{}
			if out, err = payload(s, text); err == nil {
				client := made.Client()
				err = client.Publish(outgoing(s), client.NewMessage(args[0], out, micro.WithMessageContentType(s.contentType)))
			}
		}
		if err != nil {
			return err
		}
		say("published", map[string]interface{}{"topic": args[0]})
	}
	// The NATS client writes behind our back.
	time.Sleep(200 * time.Millisecond)
	return broker.Disconnect()
}

// subscribe prints what arrives, as a service of go-micro gets it or as the broker has it.
func subscribe(s *settings, args []string) error {
	if len(args) < 1 {
		return errors.New("subscribe TOPIC [QUEUE]")
	}
	topic, queue := args[0], append(args, "")[1]
	if s.raw {
		return subscribeRaw(s, topic, queue)
	}
	var made micro.Service
	made, err := service(s, ready(&made, s))
	if err != nil {
		return err
	}
	got := func(ctx context.Context, body *json.RawMessage) error {
		header, _ := micro.FromContext(ctx)
		say("message", map[string]interface{}{"topic": topic, "header": header, "body": string(*body)})
		return nil
	}
	var options []micro.SubscriberOption
	if queue != "" {
		options = append(options, micro.SubscriberQueue(queue))
	}
	if err := made.Server().Subscribe(made.Server().NewSubscriber(topic, got, options...)); err != nil {
		return err
	}
	return made.Run()
}

func subscribeRaw(s *settings, topic, queue string) error {
	made, err := service(s)
	if err != nil {
		return err
	}
	broker := made.Options().Broker
	if err := broker.Connect(); err != nil {
		return err
	}
	var options []micro.SubscribeOption
	if queue != "" {
		options = append(options, micro.Queue(queue))
	}
	subscription, err := broker.Subscribe(topic, func(event micro.BrokerEvent) error {
		message := event.Message()
		say("message", map[string]interface{}{"topic": event.Topic(), "header": message.Header, "body": string(message.Body)})
		return nil
	}, options...)
	if err != nil {
		return err
	}
	say("ready", map[string]interface{}{"topic": topic, "queue": queue, "address": broker.Address(), "registry": s.registry, "broker": s.broker})
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
	if err := subscription.Unsubscribe(); err != nil {
		return err
	}
	return broker.Disconnect()
}
