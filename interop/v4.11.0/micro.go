// Package micro is go-micro v4.11.0 as the say program uses it.
package micro

import (
	natsbroker "github.com/go-micro/plugins/v4/broker/nats"
	"github.com/go-micro/plugins/v4/broker/rabbitmq"
	"github.com/go-micro/plugins/v4/broker/redis"
	"github.com/go-micro/plugins/v4/registry/consul"
	"github.com/go-micro/plugins/v4/registry/etcd"
	"github.com/go-micro/plugins/v4/registry/nats"
	"go-micro.dev/v4"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/errors"
	"go-micro.dev/v4/metadata"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/selector"
	"go-micro.dev/v4/server"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	Generation = "v4.11.0"
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
		"memory": registry.NewMemoryRegistry, "mdns": registry.NewRegistry, "consul": consul.NewRegistry, "etcd": etcd.NewRegistry, "nats": nats.NewRegistry,
	}
	Brokers = map[string]func(...broker.Option) broker.Broker{
		"http": broker.NewBroker, "nats": natsbroker.NewBroker,
		"rabbitmq": rabbitmq.NewBroker, "redis": redis.NewBroker,
	}
	Servers = map[string]func(...server.Option) server.Server{
		"mucp": server.NewRPCServer,
	}
	Clients = map[string]func(...client.Option) client.Client{
		"mucp": client.NewClient,
	}
)

var (
	Address                = micro.Address
	AfterStart             = micro.AfterStart
	BrokerAddrs            = broker.Addrs
	BrokerRegistry         = broker.Registry
	ClientBroker           = client.Broker
	ClientRegistry         = client.Registry
	ClientSelector         = client.Selector
	FromContext            = metadata.FromContext
	Metadata               = server.Metadata
	Name                   = micro.Name
	NewContext             = metadata.NewContext
	NewError               = errors.New
	NewSelector            = selector.NewSelector
	NewService             = micro.NewService
	Queue                  = broker.Queue
	RegisterInterval       = micro.RegisterInterval
	RegisterTTL            = micro.RegisterTTL
	RegistryAddrs          = registry.Addrs
	Retries                = client.Retries
	SelectorRegistry       = selector.Registry
	StreamingRequest       = client.StreamingRequest
	SubscriberQueue        = server.SubscriberQueue
	Version                = micro.Version
	WithAddress            = client.WithAddress
	WithBroker             = micro.Broker
	WithClient             = micro.Client
	WithContentType        = client.WithContentType
	WithDialTimeout        = client.WithDialTimeout
	WithMessageContentType = client.WithMessageContentType
	WithRegistry           = micro.Registry
	WithRequestTimeout     = client.WithRequestTimeout
	WithServer             = micro.Server
)
