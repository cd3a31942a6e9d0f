#!/usr/bin/env bash
# Beside it: micro sidecar        (this app registers itself; needs curl, jq and socat)
set -u
sidecar=http://127.0.0.1:8081
service='{"name":"greeter","nodes":[{"id":"greeter-shell-1","address":"127.0.0.1","port":9090,"metadata":{"protocol":"http"}}]}'

ask() { curl -sf -X "$1" -H 'Content-Type: application/json' --data-binary "$3" "$sidecar$2"; }

answer() { # one HTTP request from standard input, as socat hands it over
    local line path length=0 body reply
    read -r _ path _
    while IFS= read -r line && line=${line%$'\r'} && [ -n "$line" ]; do
        case ${line,,} in content-length:*) length=${line#*:} ;; esac
    done
    body=$(head -c "$((length))")
    case $path in
        /Say/Hello) # what others call as Say.Hello
            message="Hello $(jq -r .name <<<"$body")"
            ask POST '/broker?topic=greetings' "$message" >/dev/null # publish
            reply=$(jq -nc --arg msg "$message" '{$msg}') ;;
        /Say/Ask) # calls a service, itself as it happens
            reply=$(ask POST /rpc "{\"service\":\"greeter\",\"method\":\"Say.Hello\",\"request\":$body}") ;;
    esac
    printf 'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' "${#reply}" "$reply"
}

if [ "${1-}" = answer ]; then answer; exit; fi

leave() { # first out of the registry, so that nobody calls us any more
    ask DELETE /registry "$service" >/dev/null
    trap - TERM
    kill $(jobs -p) 2>/dev/null
    exit 0
}
trap leave TERM
socat TCP-LISTEN:9090,bind=127.0.0.1,reuseaddr,fork SYSTEM:"bash '$0' answer" &
micro subscribe -f greetings 2>/dev/null | while IFS= read -r message; do echo "heard: $message"; done &
while :; do # vanishes 30 s after we stop renewing, should we crash
    ask POST '/registry?ttl=30s' "$service" >/dev/null
    sleep 10 & wait $!
done
