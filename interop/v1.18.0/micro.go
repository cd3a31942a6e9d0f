// Package micro is go-micro v1.18.0 as the say program uses it.
package micro

import (
	wrapperspb "github.com/golang/protobuf/ptypes/wrappers"
	"github.com/micro/go-micro"
	"github.com/micro/go-micro/broker"
	natsbroker "github.com/micro/go-micro/broker/nats"
	"github.com/micro/go-micro/client"
	"github.com/micro/go-micro/client/selector"
	"github.com/micro/go-micro/errors"
	"github.com/micro/go-micro/metadata"
	"github.com/micro/go-micro/registry"
	"github.com/micro/go-micro/registry/etcd"
	"github.com/micro/go-micro/registry/memory"
	"github.com/micro/go-micro/server"
	"github.com/micro/go-plugins/registry/consul"
	"github.com/micro/go-plugins/registry/nats"
)

const (
	Generation = "v1.18.0"
	Protocol   = "mucp"
)

type (
	BrokerEvent      = broker.Event
	BrokerMessage    = broker.Message
	CallOption       = client.CallOption
	Option           = micro.Option
	Service          = micro.Service
	Stream           = server.Stream
	StringValue      = wrapperspb.StringValue
	SubscribeOption  = broker.SubscribeOption
	SubscriberOption = server.SubscriberOption
)

var (
	Registries = map[string]func(...registry.Option) registry.Registry{
		"memory": memory.NewRegistry, "mdns": registry.NewRegistry, "consul": consul.NewRegistry, "etcd": etcd.NewRegistry, "nats": nats.NewRegistry,
	}
	Brokers = map[string]func(...broker.Option) broker.Broker{
		"http": broker.NewBroker, "nats": natsbroker.NewBroker,
	}
	Servers = map[string]func(...server.Option) server.Server{
		"mucp": server.NewServer,
	}
	Clients = map[string]func(...client.Option) client.Client{
		"mucp": client.NewClient,
	}
)

var (
	Address            = micro.Address
	AfterStart         = micro.AfterStart
	BrokerAddrs        = broker.Addrs
	BrokerRegistry     = broker.Registry
	ClientBroker       = client.Broker
	ClientRegistry     = client.Registry
	ClientSelector     = client.Selector
	FromContext        = metadata.FromContext
	Metadata           = server.Metadata
	Name               = micro.Name
	NewContext         = metadata.NewContext
	NewError           = errors.New
	NewSelector        = selector.NewSelector
	NewService         = micro.NewService
	Queue              = broker.Queue
	RegisterInterval   = micro.RegisterInterval
	RegisterTTL        = micro.RegisterTTL
	RegistryAddrs      = registry.Addrs
	Retries            = client.Retries
	SelectorRegistry   = selector.Registry
	StreamingRequest   = client.StreamingRequest
	SubscriberQueue    = server.SubscriberQueue
	Version            = micro.Version
	WithAddress        = client.WithAddress
	WithBroker         = micro.Broker
	WithClient         = micro.Client
	WithContentType    = client.WithContentType
	WithDialTimeout    = client.WithDialTimeout
	WithRegistry       = micro.Registry
	WithRequestTimeout = client.WithRequestTimeout
	WithServer         = micro.Server
)

// WithMessageContentType came with v2.
func WithMessageContentType(contentType string) client.MessageOption {
	return func(options *client.MessageOptions) { options.ContentType = contentType }
}
