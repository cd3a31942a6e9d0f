// Beside it: micro sidecar        (this app registers itself; go get github.com/gorilla/websocket@v1.5.3)
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

const sidecar, service = "127.0.0.1:8081", `{"name":"greeter","nodes":[{"id":"greeter-go-1","address":"127.0.0.1","port":9090,"metadata":{"protocol":"http"}}]}`

func ask(method, path, body string) (answer []byte) {
	request, _ := http.NewRequest(method, "http://"+sidecar+path, strings.NewReader(body))
	if response, err := http.DefaultClient.Do(request); err == nil {
		defer response.Body.Close()
		answer, _ = io.ReadAll(response.Body)
	}
	return answer
}
func again(pause time.Duration, work func()) { // the sidecar may be away for a while
	for ; ; time.Sleep(pause) {
		work()
	}
}
func listen() {
	topic, _, err := websocket.DefaultDialer.Dial("ws://"+sidecar+"/broker?topic=greetings&format=text", nil)
	for message := []byte("hello"); err == nil; _, message, err = topic.ReadMessage() {
		fmt.Printf("heard: %s\n", message)
	}
}
func main() {
	http.HandleFunc("POST /Say/Hello", func(w http.ResponseWriter, r *http.Request) { // what others call as Say.Hello
		var asked struct{ Name string }
		json.NewDecoder(r.Body).Decode(&asked)
		ask("POST", "/broker?topic=greetings", "Hello "+asked.Name) // publish
		json.NewEncoder(w).Encode(map[string]string{"msg": "Hello " + asked.Name})
	})
	http.HandleFunc("POST /Say/Ask", func(w http.ResponseWriter, r *http.Request) { // calls a service, itself as it happens
		request, _ := io.ReadAll(r.Body)
		w.Write(ask("POST", "/rpc", `{"service":"greeter","method":"Say.Hello","request":`+string(request)+`}`))
	})
	go again(time.Second, listen)
	go again(10*time.Second, func() { ask("POST", "/registry?ttl=30s", service) }) // vanishes 30 s after a crash
	server := &http.Server{Addr: "127.0.0.1:9090"}
	go server.ListenAndServe()
	told, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	<-told.Done()
	ask("DELETE", "/registry", service)   // first, so that nobody calls us any more
	server.Shutdown(context.Background()) // finishes what is under way
}
