// Command say is a small go-micro service and client. It is built once for each generation of go-micro: everything
// that differs between generations is in the package interop/micro, of which there is one a generation.
//
// Every event is one line of JSON on standard output; go-micro's own log goes to standard error.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"interop/micro"
)

const usage = `usage: say serve     [flags]                        answer Say.* until SIGTERM
       say call      [flags] SERVICE METHOD [JSON]  call once; exit code 1 when the answer is an error
       say stream    [flags] SERVICE METHOD JSON... open a stream, send each JSON, print what comes until it ends
       say publish   [flags] TOPIC JSON...          publish each JSON
       say subscribe [flags] TOPIC [QUEUE]          print each message until SIGTERM
       say emit      [flags] TOPIC JSON...          publish each JSON as an event (v4.11.0 and v5.30.0)
       say consume   [flags] TOPIC [GROUP]          print each event until SIGTERM
"say COMMAND -h" lists the flags.
`

var commands = map[string]func(*settings, []string) error{
	"serve": serve, "call": call, "stream": stream, "publish": publish, "subscribe": subscribe,
}

// settings are the flags, which all commands share.
type settings struct {
	name, version, address, metadata    string
	registry, registryAddress           string
	broker, brokerAddress, brokerListen string
	protocol, contentType               string
	ttl, interval, timeout              time.Duration
	retries                             int
	to                                  string
	raw, text                           bool
}

func parse(command string, args []string) (*settings, []string) {
	s := &settings{}
	f := flag.NewFlagSet("say "+command, flag.ExitOnError)
	f.StringVar(&s.name, "name", "srv.say", "name of the service")
	f.StringVar(&s.version, "version", "1.0.0", "version of the service")
	f.StringVar(&s.address, "address", "127.0.0.1:0", "address that the service listens on")
	f.StringVar(&s.metadata, "metadata", "", "metadata, k=v,k=v: of the node for serve, of the request otherwise")
	f.StringVar(&s.registry, "registry", "memory", "memory (found by nobody else), mdns, consul, etcd, nats")
	f.StringVar(&s.registryAddress, "registry-address", "", "host:port of the registry")
	f.StringVar(&s.broker, "broker", "http", "http, nats; rabbitmq, redis with v4.11.0; rabbitmq with v5.30.0")
	f.StringVar(&s.brokerAddress, "broker-address", "", "host:port of the broker")
	f.StringVar(&s.brokerListen, "broker-listen", "127.0.0.1:0", "address that the http broker listens on")
	f.StringVar(&s.protocol, "protocol", micro.Protocol, "mucp, and grpc where it was ever the default")
	f.StringVar(&s.contentType, "content-type", "application/json", "content type of requests and messages")
	f.DurationVar(&s.ttl, "ttl", 60*time.Second, "TTL of the registration")
	f.DurationVar(&s.interval, "interval", 30*time.Second, "time between registrations")
	f.DurationVar(&s.timeout, "timeout", 5*time.Second, "time that a call may take")
	f.IntVar(&s.retries, "retries", 0, "attempts after the first")
	f.StringVar(&s.to, "to", "", "call this host:port instead of asking the registry")
	f.BoolVar(&s.raw, "raw", false, "publish or subscribe at the broker itself, below client and server")
	f.BoolVar(&s.text, "text", false, "the arguments are texts, sent and answered as google.protobuf.StringValue")
	if err := f.Parse(args); err != nil {
		fail(err)
	}
	return s, f.Args()
}

// pairs reads k=v,k=v.
func pairs(text string) map[string]string {
	out := map[string]string{}
	for _, pair := range strings.Split(text, ",") {
		if key, value, found := strings.Cut(pair, "="); found {
			out[key] = value
		}
	}
	return out
}

var (
	output sync.Mutex
	events = os.Stdout
)

// say prints one event.
func say(event string, fields map[string]interface{}) {
	fields["event"] = event
	fields["generation"] = micro.Generation
	line, err := json.Marshal(fields)
	if err != nil {
		fail(err)
	}
	output.Lock()
	defer output.Unlock()
	events.Write(append(line, '\n'))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "say:", err)
	os.Exit(2)
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	os.Stdout = os.Stderr // go-micro v2 to v4 log there
	s, args := parse(os.Args[1], os.Args[2:])
	if err := commands[os.Args[1]](s, args); err != nil {
		fail(err)
	}
}
