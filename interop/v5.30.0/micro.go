// Package micro is go-micro v5.30.0 as the say program uses it.
//
// It has no gRPC: linking server/grpc replaces the process-wide "proto" codec, and then every call to etcd fails.
package micro

import (
	"go-micro.dev/v5"
	"go-micro.dev/v5/broker"
	natsbroker "go-micro.dev/v5/broker/nats"
	"go-micro.dev/v5/broker/rabbitmq"
	"go-micro.dev/v5/client"
	"go-micro.dev/v5/errors"
	"go-micro.dev/v5/metadata"
	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/registry/consul"
	"go-micro.dev/v5/registry/etcd"
	"go-micro.dev/v5/registry/nats"
	"go-micro.dev/v5/selector"
	"go-micro.dev/v5/server"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	Generation = "v5.30.0"
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
		"memory": registry.NewMemoryRegistry, "mdns": registry.NewMDNSRegistry,
		"consul": consul.NewConsulRegistry, "etcd": etcd.NewEtcdRegistry, "nats": nats.NewNatsRegistry,
	}
	Brokers = map[string]func(...broker.Option) broker.Broker{
		"http": broker.NewHttpBroker, "nats": natsbroker.NewNatsBroker,
		"rabbitmq": rabbitmq.NewBroker,
	}
	Servers = map[string]func(...server.Option) server.Server{"mucp": server.NewRPCServer}
	Clients = map[string]func(...client.Option) client.Client{"mucp": client.NewClient}
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
