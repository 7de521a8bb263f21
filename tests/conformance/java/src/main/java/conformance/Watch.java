package conformance;

import com.google.gson.JsonObject;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Stands between the client and the proxy and remembers what went by: the client drops the answers to its reports. */
final class Watch implements AutoCloseable {
    private static final int PATIENCE_S = 20;
    private final HttpServer server;
    private final ExecutorService workers = Executors.newCachedThreadPool();
    private final HttpClient onward = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final LinkedBlockingQueue<Seen> seen = new LinkedBlockingQueue<>();

    /** One request and its answer. */
    record Seen(String route, JsonObject body, int status, String answer) {}

    Watch() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", this::forward);
        server.setExecutor(workers);
        server.start();
    }

    String url() {
        return "http://127.0.0.1:" + server.getAddress().getPort();
    }

    /** The next request that went by. */
    Seen next() throws InterruptedException {
        Seen one = seen.poll(PATIENCE_S, TimeUnit.SECONDS);
        World.demand(one != null, "no request went by");
        return one;
    }

    private void forward(HttpExchange exchange) throws IOException {
        try (exchange) {
            byte[] body = exchange.getRequestBody().readAllBytes();
            String path = exchange.getRequestURI().getPath();
            HttpRequest request = HttpRequest.newBuilder(URI.create(World.PROXY_URL + path))
                    .header("Authorization", exchange.getRequestHeaders().getFirst("Authorization"))
                    .header("Content-Type", "application/json")
                    .POST(HttpRequest.BodyPublishers.ofByteArray(body))
                    .build();
            HttpResponse<String> answer = onward.send(request, HttpResponse.BodyHandlers.ofString());
            JsonObject sent = World.GSON.fromJson(new String(body, StandardCharsets.UTF_8), JsonObject.class);
            seen.add(new Seen(path.substring("/api/1/".length()), sent, answer.statusCode(), answer.body()));
            byte[] back = answer.body().getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Content-Type", "application/json");
            exchange.sendResponseHeaders(answer.statusCode(), back.length);
            exchange.getResponseBody().write(back);
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void close() {
        server.stop(0);
        workers.shutdownNow();
    }
}
