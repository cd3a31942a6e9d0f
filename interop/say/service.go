package main

import (
	"fmt"
	"strings"

	"interop/micro"
)

// service puts a go-micro service together as its users do, with everything on loopback.
func service(s *settings, more ...micro.Option) (micro.Service, error) {
	newRegistry, newBroker := micro.Registries[s.registry], micro.Brokers[s.broker]
	newServer, newClient := micro.Servers[s.protocol], micro.Clients[s.protocol]
	if newRegistry == nil || newBroker == nil || newServer == nil {
		return nil, fmt.Errorf("go-micro %s has no registry %q, broker %q or protocol %q", micro.Generation, s.registry, s.broker, s.protocol)
	}
	registry := newRegistry(micro.RegistryAddrs(addresses(s.registryAddress)...))
	listen := addresses(s.brokerAddress)
	if s.broker == "http" {
		listen = addresses(s.brokerListen)
	}
	broker := newBroker(micro.BrokerAddrs(listen...), micro.BrokerRegistry(registry))
	client := newClient(
		micro.ClientRegistry(registry), micro.ClientBroker(broker), micro.Retries(s.retries),
		micro.ClientSelector(micro.NewSelector(micro.SelectorRegistry(registry))),
	)
	options := []micro.Option{
		micro.WithServer(newServer()), micro.WithClient(client),
		micro.WithRegistry(registry), micro.WithBroker(broker),
		micro.Name(s.name), micro.Version(s.version), micro.Address(s.address),
		micro.RegisterTTL(s.ttl), micro.RegisterInterval(s.interval),
	}
	return micro.NewService(append(options, more...)...), nil
}

func addresses(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// ready says where the service is, once it serves.
func ready(of *micro.Service, s *settings) micro.Option {
	return micro.AfterStart(func() error {
		options := (*of).Server().Options()
		say("ready", map[string]interface{}{
			"name": options.Name, "id": options.Name + "-" + options.Id, "address": options.Address,
			"registry": s.registry, "broker": s.broker, "protocol": s.protocol,
		})
		return nil
	})
}

func serve(s *settings, _ []string) error {
	var made micro.Service
	made, err := service(s, ready(&made, s))
	if err != nil {
		return err
	}
	if err := made.Server().Init(micro.Metadata(pairs(s.metadata))); err != nil {
		return err
	}
	if err := made.Server().Handle(made.Server().NewHandler(&Say{})); err != nil {
		return err
	}
	return made.Run()
}
