// Package micro is go-micro v2.9.1 as the say program uses it.
//
// Its default is gRPC; mucp is there by choice.
package micro

import (
	wrapperspb "github.com/golang/protobuf/ptypes/wrappers"
	"github.com/micro/go-micro/v2"
	"github.com/micro/go-micro/v2/broker"
	natsbroker "github.com/micro/go-micro/v2/broker/nats"
	"github.com/micro/go-micro/v2/client"
	grpcclient "github.com/micro/go-micro/v2/client/grpc"
	mucpclient "github.com/micro/go-micro/v2/client/mucp"
	"github.com/micro/go-micro/v2/client/selector"
	"github.com/micro/go-micro/v2/errors"
	"github.com/micro/go-micro/v2/metadata"
	"github.com/micro/go-micro/v2/registry"
	"github.com/micro/go-micro/v2/registry/etcd"
	"github.com/micro/go-micro/v2/registry/memory"
	"github.com/micro/go-micro/v2/server"
	grpcserver "github.com/micro/go-micro/v2/server/grpc"
	mucpserver "github.com/micro/go-micro/v2/server/mucp"
	"github.com/micro/go-plugins/registry/consul/v2"
	"github.com/micro/go-plugins/registry/nats/v2"
)

const (
	Generation = "v2.9.1"
	Protocol   = "grpc"
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
		"grpc": grpcserver.NewServer, "mucp": mucpserver.NewServer,
	}
	Clients = map[string]func(...client.Option) client.Client{
		"grpc": grpcclient.NewClient, "mucp": mucpclient.NewClient,
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
