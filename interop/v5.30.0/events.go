package micro

import (
	"go-micro.dev/v5/events"
	"go-micro.dev/v5/events/natsjs"
)

type ConsumeOption = events.ConsumeOption

var (
	EventGroup    = events.WithGroup
	EventMetadata = events.WithMetadata
)

// NewStream is the events plugin over the JetStream at address.
func NewStream(address string) (events.Stream, error) {
	return natsjs.NewStream(natsjs.Address(address))
}
