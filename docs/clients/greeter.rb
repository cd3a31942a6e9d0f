# Beside it: micro sidecar        (this app registers itself; gem install webrick)
require 'json'
require 'net/http'
require 'securerandom'
require 'webrick'

HOST, PORT = '127.0.0.1', 8081
SERVICE = { name: 'greeter', nodes: [{ id: 'greeter-ruby-1', address: HOST, port: 9090, metadata: { protocol: 'http' } }] }
$stdout.sync = true

def sidecar(method, path, body)
  text = body.is_a?(String) ? body : body.to_json
  answer = Net::HTTP.new(HOST, PORT).send_request(method, path, text, 'Content-Type' => 'application/json')
  raise answer.body unless answer.code.to_i == 200
  answer.body
end

# The little of a WebSocket that a listener needs: the handshake, and text frames from the server.
def listen(topic)
  socket = TCPSocket.new(HOST, PORT)
  key = SecureRandom.base64(16)
  socket.write("GET /broker?topic=#{topic}&format=text HTTP/1.1\r\nHost: #{HOST}:#{PORT}\r\nUpgrade: websocket\r\n" \
               "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: #{key}\r\n\r\n")
  nil until socket.gets == "\r\n"
  while (head = socket.read(2)&.bytes)
    size = head[1] & 127
    size = socket.read(size == 126 ? 2 : 8).unpack1(size == 126 ? 'n' : 'Q>') if size > 125
    text = socket.read(size)
    socket.write([0x8a, 0x80 | size, 0, text].pack('CCNa*')) if head[0] & 15 == 9 # a ping wants its pong
    yield text.force_encoding('UTF-8') if head[0] & 15 == 1
  end
end

server = WEBrick::HTTPServer.new(BindAddress: HOST, Port: 9090, AccessLog: [], Logger: WEBrick::Log.new(File::NULL))
server.mount_proc('/Say/Hello') do |request, response| # what others call as Say.Hello
  message = "Hello #{JSON.parse(request.body)['name']}"
  sidecar('POST', '/broker?topic=greetings', message) # publish
  response.body = { msg: message }.to_json
end
server.mount_proc('/Say/Ask') do |request, response| # calls a service, itself as it happens
  response.body = sidecar('POST', '/rpc', { service: 'greeter', method: 'Say.Hello', request: JSON.parse(request.body) })
end
[-> { sidecar('POST', '/registry?ttl=30s', SERVICE); sleep 10 }, # vanishes 30 s after we stop renewing
 -> { listen('greetings') { |text| puts "heard: #{text}" }; sleep 1 }].each do |work|
  Thread.new { loop { work.call rescue (warn $!.message; sleep 1) } }
end
trap('TERM') { Thread.new { sidecar('DELETE', '/registry', SERVICE); server.shutdown } }
server.start
