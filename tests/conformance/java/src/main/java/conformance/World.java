package conformance;

import com.google.gson.Gson;
import com.ironcorelabs.tenantsecurity.kms.v1.DeterministicEncryptedField;
import com.ironcorelabs.tenantsecurity.kms.v1.DeterministicPlaintextField;
import com.ironcorelabs.tenantsecurity.kms.v1.DocumentMetadata;
import com.ironcorelabs.tenantsecurity.kms.v1.FieldMetadata;
import com.ironcorelabs.tenantsecurity.kms.v1.TenantSecurityClient;
import com.ironcorelabs.tenantsecurity.kms.v1.exception.TenantSecurityException;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/** What both programs share: the client under test, words for its inputs, and the reports that pytest reads. */
final class World {
    static final String PROXY_URL = need("PROXY_URL");
    static final String API_KEY = need("API_KEY");
    static final Gson GSON = new Gson();
    private static final Random RANDOM = new Random();
    private static final int PATIENCE_S = 60;
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private World() {}

    /** A check: it fails by throwing. */
    interface Check {
        void run() throws Exception;
    }

    static String need(String name) {
        String value = System.getenv(name);
        if (value == null || value.isEmpty()) {
            throw new IllegalStateException("set " + name);
        }
        return value;
    }

    static TenantSecurityClient clientOf(String url, String apiKey) throws Exception {
        return new TenantSecurityClient.Builder(url, apiKey).allowInsecureHttp(true).build();
    }

    static DocumentMetadata forDocument(String tenant) {
        return new DocumentMetadata(tenant, "conformance-java", "records", Map.of("purpose", "conformance"), "ray-1");
    }

    static FieldMetadata forField(String tenant) {
        return new FieldMetadata(tenant, "conformance-java", "records");
    }

    /** The order of the two paths differs between releases of the client, so it is looked at. */
    static DeterministicPlaintextField plainField(byte[] bytes, String secretPath, String derivationPath) {
        DeterministicPlaintextField field = new DeterministicPlaintextField(bytes, secretPath, derivationPath);
        return field.getSecretPath().equals(secretPath)
                ? field
                : new DeterministicPlaintextField(bytes, derivationPath, secretPath);
    }

    /** As {@link #plainField}, of an encrypted field. */
    static DeterministicEncryptedField encryptedField(byte[] bytes, String secretPath, String derivationPath) {
        DeterministicEncryptedField field = new DeterministicEncryptedField(bytes, secretPath, derivationPath);
        return field.getSecretPath().equals(secretPath)
                ? field
                : new DeterministicEncryptedField(bytes, derivationPath, secretPath);
    }

    static byte[] text(String value) {
        return value.getBytes(StandardCharsets.UTF_8);
    }

    static byte[] random(int size) {
        byte[] bytes = new byte[size];
        RANDOM.nextBytes(bytes);
        return bytes;
    }

    static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }

    static byte[] fromBase64(String value) {
        return Base64.getDecoder().decode(value);
    }

    static Map<String, byte[]> person() {
        return Map.of("name", text("Ada Lovelace"), "note", text("née Byron"), "empty", new byte[0], "blob", random(4096));
    }

    static <T> T got(CompletableFuture<T> future) throws Exception {
        return future.get(PATIENCE_S, TimeUnit.SECONDS);
    }

    static void demand(boolean holds, String promise) {
        if (!holds) {
            throw new AssertionError(promise);
        }
    }

    static void demandEqual(Object actual, Object expected) {
        demand(expected.equals(actual), "expected " + expected + ", got " + actual);
    }

    static void demandSame(Map<String, byte[]> actual, Map<String, byte[]> expected) {
        demandEqual(Set.copyOf(actual.keySet()), Set.copyOf(expected.keySet()));
        expected.forEach((name, bytes) -> demand(Arrays.equals(bytes, actual.get(name)), "field " + name + " differs"));
    }

    /** The client's own exception in a failure, however it is wrapped. */
    static TenantSecurityException fault(Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (cause instanceof TenantSecurityException) {
                return (TenantSecurityException) cause;
            }
        }
        throw new AssertionError("the failure is not one of the client's", failure);
    }

    /** Demand that the operation fails with this class of exception and this code. */
    static TenantSecurityException refused(
            CompletableFuture<?> future, Class<? extends TenantSecurityException> kind, int code) throws Exception {
        Object value;
        try {
            value = got(future);
        } catch (ExecutionException failure) {
            TenantSecurityException fault = fault(failure);
            demandFault(fault, kind, code);
            return fault;
        }
        throw new AssertionError("expected a refusal, got " + value);
    }

    static void demandFault(TenantSecurityException fault, Class<? extends TenantSecurityException> kind, int code) {
        demandEqual(fault.getErrorCode().getCode(), code);
        demand(kind.isInstance(fault), fault.getClass() + " is not " + kind);
    }

    /** Run the checks one after another and print one line of JSON for each. */
    static void run(Map<String, Check> checks) {
        checks.forEach((name, check) -> {
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("name", name);
            try {
                check.run();
                line.put("ok", true);
            } catch (Throwable failure) {
                StringWriter trace = new StringWriter();
                failure.printStackTrace(new PrintWriter(trace));
                line.put("ok", false);
                line.put("error", trace.toString());
            }
            OUT.println(GSON.toJson(line));
        });
    }
}
