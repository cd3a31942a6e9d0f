package micro

import (
	"encoding/json"

	natsbroker "github.com/go-micro/plugins/v4/broker/nats"
	v4broker "go-micro.dev/v4/broker"
	v4registry "go-micro.dev/v4/registry"
	"go-micro.dev/v5/broker"
	"go-micro.dev/v5/registry"
)

// v4 and v5.3 have the same interfaces over types of the same shape, so a plugin of v4 needs only a change of types.

// convert copies a value between types of the same shape.
func convert(from, to interface{}) {
	text, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(text, to)
	}
	if err != nil {
		panic(err)
	}
}

type registryBridge struct {
	v4registry.Registry
	options registry.Options
}

func bridged(make func(...v4registry.Option) v4registry.Registry) func(...registry.Option) registry.Registry {
	return func(options ...registry.Option) registry.Registry {
		var o registry.Options
		for _, option := range options {
			option(&o)
		}
		return &registryBridge{make(v4registry.Addrs(o.Addrs...)), o}
	}
}

func (b *registryBridge) Init(...registry.Option) error { return nil }

func (b *registryBridge) Options() registry.Options { return b.options }

func (b *registryBridge) Register(s *registry.Service, options ...registry.RegisterOption) error {
	var o registry.RegisterOptions
	for _, option := range options {
		option(&o)
	}
	var out v4registry.Service
	convert(s, &out)
	return b.Registry.Register(&out, v4registry.RegisterTTL(o.TTL))
}

func (b *registryBridge) Deregister(s *registry.Service, _ ...registry.DeregisterOption) error {
	var out v4registry.Service
	convert(s, &out)
	return b.Registry.Deregister(&out)
}

func (b *registryBridge) GetService(name string, _ ...registry.GetOption) ([]*registry.Service, error) {
	found, err := b.Registry.GetService(name)
	if err == v4registry.ErrNotFound {
		return nil, registry.ErrNotFound
	}
	var out []*registry.Service
	convert(found, &out)
	return out, err
}

func (b *registryBridge) ListServices(...registry.ListOption) ([]*registry.Service, error) {
	found, err := b.Registry.ListServices()
	var out []*registry.Service
	convert(found, &out)
	return out, err
}

func (b *registryBridge) Watch(options ...registry.WatchOption) (registry.Watcher, error) {
	var o registry.WatchOptions
	for _, option := range options {
		option(&o)
	}
	var only []v4registry.WatchOption
	if o.Service != "" {
		only = append(only, v4registry.WatchService(o.Service))
	}
	watcher, err := b.Registry.Watch(only...)
	return watcherBridge{watcher}, err
}

type watcherBridge struct{ v4registry.Watcher }

func (b watcherBridge) Next() (*registry.Result, error) {
	result, err := b.Watcher.Next()
	if err != nil {
		return nil, err
	}
	var out registry.Result
	convert(result, &out)
	return &out, nil
}

type brokerBridge struct {
	v4broker.Broker
	options broker.Options
}

func newNatsBroker(options ...broker.Option) broker.Broker {
	var o broker.Options
	for _, option := range options {
		option(&o)
	}
	return &brokerBridge{natsbroker.NewBroker(v4broker.Addrs(o.Addrs...)), o}
}

func (b *brokerBridge) Init(...broker.Option) error { return nil }

func (b *brokerBridge) Options() broker.Options { return b.options }

func (b *brokerBridge) Publish(topic string, m *broker.Message, _ ...broker.PublishOption) error {
	return b.Broker.Publish(topic, &v4broker.Message{Header: m.Header, Body: m.Body})
}

func (b *brokerBridge) Subscribe(topic string, handle broker.Handler, options ...broker.SubscribeOption) (broker.Subscriber, error) {
	o := broker.NewSubscribeOptions(options...)
	var queue []v4broker.SubscribeOption
	if o.Queue != "" {
		queue = append(queue, v4broker.Queue(o.Queue))
	}
	subscriber, err := b.Broker.Subscribe(topic, func(event v4broker.Event) error {
		return handle(eventBridge{event})
	}, queue...)
	return subscriberBridge{subscriber, o}, err
}

type eventBridge struct{ v4broker.Event }

func (b eventBridge) Message() *broker.Message {
	m := b.Event.Message()
	return &broker.Message{Header: m.Header, Body: m.Body}
}

type subscriberBridge struct {
	v4broker.Subscriber
	options broker.SubscribeOptions
}

func (b subscriberBridge) Options() broker.SubscribeOptions { return b.options }
