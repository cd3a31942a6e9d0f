// Package quic is just enough for go-micro v1.18.0 to compile its QUIC transport, which nobody here uses.
package quic

import (
	"crypto/tls"
	"errors"
	"net"
	"time"
)

var errAbsent = errors.New("QUIC is not part of this build")

type Config struct {
	IdleTimeout time.Duration
	KeepAlive   bool
}

type Stream interface {
	net.Conn
}

type Session interface {
	AcceptStream(interface{}) (Stream, error)
	OpenStreamSync(interface{}) (Stream, error)
	OpenStream() (Stream, error)
	Close() error
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

type Listener interface {
	Accept(interface{}) (Session, error)
	Close() error
	Addr() net.Addr
}

func DialAddr(string, *tls.Config, *Config) (Session, error) { return nil, errAbsent }

func ListenAddr(string, *tls.Config, *Config) (Listener, error) { return nil, errAbsent }
