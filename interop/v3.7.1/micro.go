// Package micro is go-micro v3.7.1 as the say program uses it.
package micro

import (
	natsbroker "github.com/asim/go-micro/plugins/broker/nats/v3"
	"github.com/asim/go-micro/plugins/registry/consul/v3"
	"github.com/asim/go-micro/plugins/registry/etcd/v3"
	"github.com/asim/go-micro/plugins/registry/nats/v3"
	"github.com/asim/go-micro/v3"
	"github.com/asim/go-micro/v3/broker"
	"github.com/asim/go-micro/v3/client"
	"github.com/asim/go-micro/v3/errors"
	"github.com/asim/go-micro/v3/metadata"
	"github.com/asim/go-micro/v3/registry"
	"github.com/asim/go-micro/v3/selector"
	"github.com/asim/go-micro/v3/server"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	Generation = "v3.7.1"
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
	}
	Servers = map[string]func(...server.Option) server.Server{
		"mucp": server.NewServer,
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
