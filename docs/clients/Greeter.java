// Beside it: micro sidecar        (this app registers itself; java Greeter.java)
import com.sun.net.httpserver.HttpServer;
import java.net.*;
import java.net.http.*;
import java.util.concurrent.*;
import java.util.regex.Pattern;

public class Greeter {
  static final String SIDECAR = "127.0.0.1:8081";
  static final String SERVICE = "{\"name\":\"greeter\",\"nodes\":[{\"id\":\"greeter-java-1\",\"address\":\"127.0.0.1\","
      + "\"port\":9090,\"metadata\":{\"protocol\":\"http\"}}]}";
  static final HttpClient http = HttpClient.newHttpClient();

  static String sidecar(String method, String path, String body) {
    try {
      var request = HttpRequest.newBuilder(URI.create("http://" + SIDECAR + path)).header("Content-Type", "application/json");
      var publisher = HttpRequest.BodyPublishers.ofString(body);
      return http.send(request.method(method, publisher).build(), HttpResponse.BodyHandlers.ofString()).body();
    } catch (Exception error) {
      System.out.println("the sidecar did not answer: " + error);
      return "{}";
    }
  }

  interface Method { String call(String request); }

  static void serve(HttpServer server, String path, Method method) {
    server.createContext(path, exchange -> {
      byte[] answer = method.call(new String(exchange.getRequestBody().readAllBytes())).getBytes();
      exchange.sendResponseHeaders(200, answer.length);
      try (var out = exchange.getResponseBody()) { out.write(answer); }
    });
  }

  public static void main(String[] args) throws Exception {
    var server = HttpServer.create(new InetSocketAddress("127.0.0.1", 9090), 0);
    server.setExecutor(Executors.newCachedThreadPool());
    serve(server, "/Say/Hello", request -> { // what others call as Say.Hello
      var name = Pattern.compile("\"name\"\\s*:\\s*\"([^\"]*)\"").matcher(request);
      var message = "Hello " + (name.find() ? name.group(1) : "");
      sidecar("POST", "/broker?topic=greetings", message); // publish
      return "{\"msg\":\"" + message + "\"}";
    });
    serve(server, "/Say/Ask", request -> // calls a service, itself as it happens
        sidecar("POST", "/rpc", "{\"service\":\"greeter\",\"method\":\"Say.Hello\",\"request\":" + request + "}"));
    server.start();
    var work = Executors.newScheduledThreadPool(1); // vanishes 30 s after we stop renewing, should we crash
    work.scheduleAtFixedRate(() -> sidecar("POST", "/registry?ttl=30s", SERVICE), 0, 10, TimeUnit.SECONDS);
    http.newWebSocketBuilder().buildAsync(URI.create("ws://" + SIDECAR + "/broker?topic=greetings&format=text"),
        new WebSocket.Listener() {
          public CompletionStage<?> onText(WebSocket topic, CharSequence text, boolean last) {
            System.out.println("heard: " + text);
            topic.request(1);
            return null;
          }
        });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> sidecar("DELETE", "/registry", SERVICE)));
  }
}
