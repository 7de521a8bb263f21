package conformance;

import static conformance.World.demand;
import static conformance.World.demandEqual;
import static conformance.World.demandFault;
import static conformance.World.demandSame;
import static conformance.World.encryptedField;
import static conformance.World.forDocument;
import static conformance.World.forField;
import static conformance.World.fromBase64;
import static conformance.World.got;
import static conformance.World.person;
import static conformance.World.plainField;
import static conformance.World.random;
import static conformance.World.refused;
import static conformance.World.text;

import com.google.gson.JsonObject;
import com.ironcorelabs.tenantsecurity.kms.v1.BatchResult;
import com.ironcorelabs.tenantsecurity.kms.v1.CachedDecryptor;
import com.ironcorelabs.tenantsecurity.kms.v1.CachedEncryptor;
import com.ironcorelabs.tenantsecurity.kms.v1.CachedKey;
import com.ironcorelabs.tenantsecurity.kms.v1.DeterministicEncryptedField;
import com.ironcorelabs.tenantsecurity.kms.v1.DeterministicPlaintextField;
import com.ironcorelabs.tenantsecurity.kms.v1.DeterministicTenantSecurityClient;
import com.ironcorelabs.tenantsecurity.kms.v1.EncryptedDocument;
import com.ironcorelabs.tenantsecurity.kms.v1.PlaintextDocument;
import com.ironcorelabs.tenantsecurity.kms.v1.TenantSecurityClient;
import com.ironcorelabs.tenantsecurity.kms.v1.exception.KmsException;
import com.ironcorelabs.tenantsecurity.kms.v1.exception.TenantSecurityException;
import com.ironcorelabs.tenantsecurity.kms.v1.exception.TscException;
import com.ironcorelabs.tenantsecurity.kms.v1.exception.TspServiceException;
import com.ironcorelabs.tenantsecurity.logdriver.v1.AdminEvent;
import com.ironcorelabs.tenantsecurity.logdriver.v1.CustomEvent;
import com.ironcorelabs.tenantsecurity.logdriver.v1.EventMetadata;
import com.ironcorelabs.tenantsecurity.logdriver.v1.SecurityEvent;
import com.ironcorelabs.tenantsecurity.logdriver.v1.UserEvent;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;

/** Every promise that the published Java client, unmodified, needs the proxy to keep. One line of JSON per check. */
public final class Checks {
    private static final String GCP = "INTEGRATION-TEST-GCP";
    private static final String AWS = "INTEGRATION-TEST-AWS";
    private static final String AZURE = "INTEGRATION-TEST-AZURE";
    private static final String COMBO = "INTEGRATION-TEST-COMBO";

    private final TenantSecurityClient client;
    private final DeterministicTenantSecurityClient fields;
    private final JsonObject prepared;
    private final Map<String, World.Check> checks = new LinkedHashMap<>();

    private Checks(TenantSecurityClient client, JsonObject prepared) {
        this.client = client;
        this.fields = client.getDeterministicClient();
        this.prepared = prepared;
    }

    public static void main(String[] arguments) throws Exception {
        String file = Files.readString(Path.of(World.need("PREPARED")), StandardCharsets.UTF_8);
        try (TenantSecurityClient client = World.clientOf(World.PROXY_URL, World.API_KEY)) {
            Checks all = new Checks(client, World.GSON.fromJson(file, JsonObject.class));
            all.documents();
            all.refusals();
            all.cachedKeys();
            all.deterministicFields();
            all.batches();
            World.run(all.checks);
        }
        System.exit(0);
    }

    private void check(String name, World.Check body) {
        demand(checks.put(name, body) == null, "two checks are called " + name);
    }

    private String preparedMember(String specimen, String member) {
        return prepared.getAsJsonObject(specimen).get(member).getAsString();
    }

    private EncryptedDocument preparedDocument(String specimen) {
        byte[] body = fromBase64(preparedMember(specimen, "document"));
        return new EncryptedDocument(Map.of("body", body), preparedMember(specimen, "edek"));
    }

    private void opens(String specimen, String tenant) throws Exception {
        PlaintextDocument opened = got(client.decrypt(preparedDocument(specimen), forDocument(tenant)));
        demandSame(opened.getDecryptedFields(), Map.of("body", text(preparedMember(specimen, "plaintext"))));
    }

    private void roundtrip(String tenant) throws Exception {
        Map<String, byte[]> plain = person();
        EncryptedDocument encrypted = got(client.encrypt(plain, forDocument(tenant)));
        demand(!Arrays.equals(encrypted.getEncryptedFields().get("blob"), plain.get("blob")), "nothing was encrypted");
        PlaintextDocument opened = got(client.decrypt(encrypted, forDocument(tenant)));
        demandSame(opened.getDecryptedFields(), plain);
        demandEqual(opened.getEdek(), encrypted.getEdek());
    }

    private void rekey(String from, String to) throws Exception {
        Map<String, byte[]> plain = person();
        EncryptedDocument encrypted = got(client.encrypt(plain, forDocument(from)));
        String edek = got(client.rekeyEdek(encrypted.getEdek(), forDocument(from), to));
        demand(!edek.equals(encrypted.getEdek()), "the EDEK must change");
        EncryptedDocument moved = new EncryptedDocument(encrypted.getEncryptedFields(), edek);
        demandSame(got(client.decrypt(moved, forDocument(to))).getDecryptedFields(), plain);
        if (!from.equals(to)) {
            refused(client.decrypt(moved, forDocument(from)), KmsException.class, 202);
        }
    }

    private void documents() {
        check("roundtrip, GCP", () -> roundtrip(GCP));
        check("roundtrip, AWS", () -> roundtrip(AWS));
        check("roundtrip, Azure", () -> roundtrip(AZURE));
        check("roundtrip, leased", () -> roundtrip("tenant-gcp-l"));
        check("rekey, AWS to Azure", () -> rekey(AWS, AZURE));
        check("rekey, GCP to AWS", () -> rekey(GCP, AWS));
        check("rekey, same tenant", () -> rekey("tenant-gcp", "tenant-gcp"));
        check("rekey, unleased to leased and back", () -> {
            rekey("tenant-gcp", "tenant-gcp-l");
            rekey("tenant-gcp-l", "tenant-gcp");
        });
        check("encrypt with an existing key", () -> {
            EncryptedDocument first = got(client.encrypt(person(), forDocument(GCP)));
            Map<String, byte[]> changed = Map.of("name", text("Augusta Ada King"));
            PlaintextDocument again = new PlaintextDocument(changed, first.getEdek());
            EncryptedDocument second = got(client.encrypt(again, forDocument(GCP)));
            demandEqual(second.getEdek(), first.getEdek());
            demandSame(got(client.decrypt(second, forDocument(GCP))).getDecryptedFields(), changed);
        });
        check("stream roundtrip", () -> {
            byte[] plain = random(1_500_000);
            ByteArrayOutputStream encrypted = new ByteArrayOutputStream();
            String edek = got(client.encryptStream(new ByteArrayInputStream(plain), encrypted, forDocument(GCP))).getEdek();
            ByteArrayOutputStream opened = new ByteArrayOutputStream();
            got(client.decryptStream(edek, new ByteArrayInputStream(encrypted.toByteArray()), opened, forDocument(GCP)));
            demand(Arrays.equals(opened.toByteArray(), plain), "the stream differs");
            EncryptedDocument whole = new EncryptedDocument(Map.of("body", encrypted.toByteArray()), edek);
            demandSame(got(client.decrypt(whole, forDocument(GCP))).getDecryptedFields(), Map.of("body", plain));
        });
        check("encrypting twice is refused", () -> {
            EncryptedDocument once = got(client.encrypt(person(), forDocument(GCP)));
            refused(client.encrypt(once.getEncryptedFields(), forDocument(GCP)), TscException.class, 901);
        });
        check("security event is accepted", () -> event(GCP, AdminEvent.ADD));
        check("security events of own kinds are accepted", () -> event(GCP, new CustomEvent("OWN_NAME")));
        check("security event of an unknown tenant is accepted", () -> event("bad-tenant-id", UserEvent.LOGIN));
        check("leasing switched off: leased data opens", () -> opens("leased", GCP));
        check("leasing switched off: unleased data opens", () -> opens("unleased", GCP));
        check("thirty requests at once", () -> {
            List<CompletableFuture<EncryptedDocument>> under = new ArrayList<>();
            for (int number = 0; number < 30; number++) {
                under.add(client.encrypt(Map.of("a", text("x")), forDocument(GCP)));
            }
            Set<String> edeks = new HashSet<>();
            for (var one : under) {
                edeks.add(got(one).getEdek());
            }
            demandEqual(edeks.size(), 30);
        });
    }

    private void event(String tenant, SecurityEvent event) throws Exception {
        got(client.logSecurityEvent(event, new EventMetadata(tenant, "conformance-java", "label", Map.of("k", "v"), "ray")));
    }

    private void refusals() {
        check("encrypt without a primary config: 200", () ->
                refused(client.encrypt(person(), forDocument(COMBO)), KmsException.class, 200));
        check("batch encrypt without a primary config fails whole: 200", () ->
                refused(client.encryptBatch(Map.of("a", person()), forDocument(COMBO)), KmsException.class, 200));
        check("decrypt under a disabled config: 202", () ->
                refused(client.decrypt(preparedDocument("disabled"), forDocument(COMBO)), KmsException.class, 202));
        check("decrypt for an unknown tenant: 201, whatever the EDEK", () ->
                refused(client.decrypt(preparedDocument("disabled"), forDocument("unknownTenant")), KmsException.class, 201));
        check("decrypt under an active config that is not primary", () -> opens("active", COMBO));
        check("wrong API key: 101 over HTTP 401", () -> {
            try (TenantSecurityClient stranger = World.clientOf(World.PROXY_URL, "AAAAAAAAAAAAAAAA")) {
                TenantSecurityException fault =
                        refused(stranger.encrypt(person(), forDocument(GCP)), TspServiceException.class, 101);
                demandEqual(fault.getHttpResponseCode(), 401);
            }
        });
        check("EDEK that is none: 203", () -> {
            String edek = World.base64(text("neither magic nor protobuf\n"));
            EncryptedDocument document = new EncryptedDocument(preparedDocument("active").getEncryptedFields(), edek);
            TenantSecurityException fault = refused(client.decrypt(document, forDocument(COMBO)), KmsException.class, 203);
            demand(fault.getHttpResponseCode() >= 400 && fault.getHttpResponseCode() != 401, "HTTP status");
        });
        check("nobody listens: 0", () -> {
            try (TenantSecurityClient alone = World.clientOf("http://127.0.0.1:1", World.API_KEY)) {
                refused(alone.encrypt(person(), forDocument(GCP)), TspServiceException.class, 0);
            }
        });
        check("trailing slash in the configured address", () -> {
            try (TenantSecurityClient slashed = World.clientOf(World.PROXY_URL + "/", World.API_KEY)) {
                got(slashed.encrypt(person(), forDocument(GCP)));
            }
        });
    }

    private void cachedKeys() {
        check("cached encryptor: one EDEK for many documents, opened without a cache", () -> {
            try (CachedEncryptor cached = got(client.createCachedEncryptor(forDocument(GCP)))) {
                for (int number = 0; number < 5; number++) {
                    Map<String, byte[]> plain = person();
                    EncryptedDocument encrypted = got(cached.encrypt(plain, forDocument(GCP)));
                    demandEqual(encrypted.getEdek(), cached.getEdek());
                    demandSame(got(client.decrypt(encrypted, forDocument(GCP))).getDecryptedFields(), plain);
                }
                demandEqual(cached.getOperationCount(), 5);
            }
        });
        check("cached decryptor: opens what was made without a cache", () -> {
            Map<String, byte[]> plain = person();
            EncryptedDocument encrypted = got(client.encrypt(plain, forDocument("tenant-gcp-l")));
            try (CachedDecryptor cached = got(client.createCachedDecryptor(encrypted, forDocument("tenant-gcp-l")))) {
                for (int number = 0; number < 3; number++) {
                    demandSame(got(cached.decrypt(encrypted, forDocument("tenant-gcp-l"))).getDecryptedFields(), plain);
                }
            }
        });
        check("cached key: batches and streams", () -> {
            try (CachedKey cached = got(client.createCachedKey(forDocument(GCP)))) {
                Map<String, Map<String, byte[]>> plain = Map.of("a", person(), "b", person());
                BatchResult<EncryptedDocument> encrypted = got(cached.encryptBatch(plain, forDocument(GCP)));
                demand(encrypted.getFailures().isEmpty(), "no failure");
                BatchResult<PlaintextDocument> opened = got(client.decryptBatch(encrypted.getSuccesses(), forDocument(GCP)));
                for (String id : plain.keySet()) {
                    demandSame(opened.getSuccesses().get(id).getDecryptedFields(), plain.get(id));
                }
                byte[] large = random(300_000);
                ByteArrayOutputStream out = new ByteArrayOutputStream();
                String edek = got(cached.encryptStream(new ByteArrayInputStream(large), out, forDocument(GCP))).getEdek();
                demandEqual(edek, cached.getEdek());
                ByteArrayOutputStream back = new ByteArrayOutputStream();
                got(client.decryptStream(edek, new ByteArrayInputStream(out.toByteArray()), back, forDocument(GCP)));
                demand(Arrays.equals(back.toByteArray(), large), "the stream differs");
            }
        });
        check("cached key of an EDEK under a disabled config: 202", () ->
                refused(
                        client.createCachedDecryptor(preparedMember("disabled", "edek"), forDocument(COMBO)),
                        KmsException.class,
                        202));
        check("cached key: another document's EDEK is refused by the client", () -> {
            EncryptedDocument other = got(client.encrypt(person(), forDocument(GCP)));
            try (CachedKey cached = got(client.createCachedKey(forDocument(GCP)))) {
                refused(cached.decrypt(other, forDocument(GCP)), TscException.class, 902);
            }
        });
        check("cached key: closing reports the operations, and the proxy takes the report", () -> {
            try (Watch watch = new Watch();
                    TenantSecurityClient watched = World.clientOf(watch.url(), World.API_KEY)) {
                String edek;
                try (CachedKey cached = got(watched.createCachedKey(forDocument(GCP)))) {
                    edek = cached.getEdek();
                    EncryptedDocument one = got(cached.encrypt(person(), forDocument(GCP)));
                    got(cached.encrypt(person(), forDocument(GCP)));
                    got(cached.decrypt(one, forDocument(GCP)));
                }
                demandEqual(watch.next().route(), "document/wrap");
                Watch.Seen report = watch.next();
                demandEqual(report.route(), "document/report-operations");
                JsonObject counts = report.body().getAsJsonObject("operations").getAsJsonObject(edek);
                demandEqual(counts.get("wraps").getAsInt(), 2);
                demandEqual(counts.get("unwraps").getAsInt(), 1);
                demandEqual(report.status(), 200);
                demandEqual(report.answer(), "null");
            }
        });
    }

    private void fieldRoundtrip(String tenant) throws Exception {
        DeterministicPlaintextField plain = plainField(text("123-45-6789"), "people", "ssn");
        DeterministicEncryptedField encrypted = got(fields.encryptField(plain, forField(tenant)));
        DeterministicEncryptedField again = got(fields.encryptField(plain, forField(tenant)));
        demand(Arrays.equals(encrypted.getEncryptedField(), again.getEncryptedField()), "must be deterministic");
        DeterministicPlaintextField opened = got(fields.decryptField(encrypted, forField(tenant)));
        demand(Arrays.equals(opened.getPlaintextField(), plain.getPlaintextField()), "the field differs");
    }

    private void deterministicFields() {
        check("field roundtrip, GCP", () -> fieldRoundtrip(GCP));
        check("field roundtrip, AWS", () -> fieldRoundtrip(AWS));
        check("field roundtrip, leased", () -> fieldRoundtrip("tenant-gcp-l"));
        check("batch of a hundred fields", () -> {
            Map<String, DeterministicPlaintextField> plain = new HashMap<>();
            for (int number = 0; number < 100; number++) {
                plain.put("field " + number, plainField(text("value " + number), "people", "column " + number % 7));
            }
            BatchResult<DeterministicEncryptedField> encrypted = got(fields.encryptFieldBatch(plain, forField(GCP)));
            demand(encrypted.getFailures().isEmpty(), "no failure");
            BatchResult<DeterministicPlaintextField> opened =
                    got(fields.decryptFieldBatch(encrypted.getSuccesses(), forField(GCP)));
            demandEqual(opened.getSuccesses().size(), 100);
            plain.forEach((id, field) -> demand(
                    Arrays.equals(opened.getSuccesses().get(id).getPlaintextField(), field.getPlaintextField()),
                    id + " differs"));
        });
        check("field batch: a field under paths never used before fails alone", () -> {
            DeterministicEncryptedField good = got(fields.encryptField(plainField(text("x"), "people", "ssn"), forField(GCP)));
            DeterministicEncryptedField swapped = encryptedField(good.getEncryptedField(), "ssn", "people");
            BatchResult<DeterministicPlaintextField> opened =
                    got(fields.decryptFieldBatch(Map.of("good", good, "swapped", swapped), forField(GCP)));
            demandEqual(Set.copyOf(opened.getSuccesses().keySet()), Set.of("good"));
            demandEqual(Set.copyOf(opened.getFailures().keySet()), Set.of("swapped"));
            demandFault(opened.getFailures().get("swapped"), TscException.class, 904);
        });
        check("search terms in rotation: two, the current one first", () -> {
            DeterministicPlaintextField plain = plainField(text("value"), "rotation-started", "path");
            DeterministicEncryptedField current = got(fields.encryptField(plain, forField(GCP)));
            DeterministicEncryptedField[] terms = got(fields.generateSearchTerms(plain, forField(GCP)));
            demandEqual(terms.length, 2);
            demand(Arrays.equals(terms[0].getEncryptedField(), current.getEncryptedField()), "the current one is first");
            DeterministicEncryptedField rotated = got(fields.rotateField(terms[1], forField(GCP)));
            demand(Arrays.equals(rotated.getEncryptedField(), current.getEncryptedField()), "rotation leads to the current");
        });
        check("search terms without a primary config: one", () -> {
            DeterministicPlaintextField plain = plainField(text("value"), "path2", "path1");
            demandEqual(got(fields.generateSearchTerms(plain, forField(COMBO))).length, 1);
        });
        check("field encrypt without a primary config is refused by the client", () ->
                refused(
                        fields.encryptField(plainField(text("x"), "path2", "path1"), forField(COMBO)),
                        TscException.class,
                        903));
        check("field of an unknown tenant: 201", () ->
                refused(
                        fields.encryptField(plainField(text("x"), "people", "ssn"), forField("unknownTenant")),
                        KmsException.class,
                        201));
    }

    private void batchRoundtrip(String tenant, Map<String, Map<String, byte[]>> plain) throws Exception {
        BatchResult<EncryptedDocument> encrypted = got(client.encryptBatch(plain, forDocument(tenant)));
        demand(encrypted.getFailures().isEmpty(), "no failure");
        demandEqual(Set.copyOf(encrypted.getSuccesses().keySet()), Set.copyOf(plain.keySet()));
        BatchResult<PlaintextDocument> opened = got(client.decryptBatch(encrypted.getSuccesses(), forDocument(tenant)));
        demand(opened.getFailures().isEmpty(), "no failure");
        plain.forEach((id, document) -> demandSame(opened.getSuccesses().get(id).getDecryptedFields(), document));
    }

    private void batches() {
        check("batch roundtrip", () -> batchRoundtrip(GCP, Map.of("0", person(), "1", person(), "ünï/7", person())));
        check("batch roundtrip, leased", () -> batchRoundtrip("tenant-aws-l", Map.of("0", person(), "1", person())));
        check("batch encrypt again keeps the EDEKs", () -> {
            Map<String, Map<String, byte[]>> plain = Map.of("a", person(), "b", person());
            BatchResult<EncryptedDocument> first = got(client.encryptBatch(plain, forDocument(AWS)));
            BatchResult<PlaintextDocument> opened = got(client.decryptBatch(first.getSuccesses(), forDocument(AWS)));
            BatchResult<EncryptedDocument> second =
                    got(client.encryptExistingBatch(opened.getSuccesses(), forDocument(AWS)));
            demand(second.getFailures().isEmpty(), "no failure");
            for (String id : plain.keySet()) {
                demandEqual(second.getSuccesses().get(id).getEdek(), first.getSuccesses().get(id).getEdek());
            }
        });
        check("batch of fifty large documents", () -> {
            Map<String, Map<String, byte[]>> plain = new HashMap<>();
            for (int number = 0; number < 50; number++) {
                plain.put("document " + number, Map.of("body", random(300_000)));
            }
            batchRoundtrip(AWS, plain);
        });
        check("batch decrypt fails only where the document is damaged", () -> {
            Map<String, Map<String, byte[]>> plain = Map.of("good", person(), "bad", Map.of("body", text("some text")));
            Map<String, EncryptedDocument> encrypted =
                    new HashMap<>(got(client.encryptBatch(plain, forDocument(GCP))).getSuccesses());
            byte[] damaged = encrypted.get("bad").getEncryptedFields().get("body").clone();
            damaged[damaged.length - 1] ^= 1;
            encrypted.put("bad", new EncryptedDocument(Map.of("body", damaged), encrypted.get("bad").getEdek()));
            BatchResult<PlaintextDocument> opened = got(client.decryptBatch(encrypted, forDocument(GCP)));
            demandEqual(Set.copyOf(opened.getSuccesses().keySet()), Set.of("good"));
            demandFault(opened.getFailures().get("bad"), TscException.class, 902);
        });
        check("batch decrypt fails only where the config is disabled", () -> {
            Map<String, EncryptedDocument> mixed =
                    Map.of("good", preparedDocument("active"), "bad", preparedDocument("disabled"));
            BatchResult<PlaintextDocument> opened = got(client.decryptBatch(mixed, forDocument(COMBO)));
            demandEqual(Set.copyOf(opened.getSuccesses().keySet()), Set.of("good"));
            demandEqual(Set.copyOf(opened.getFailures().keySet()), Set.of("bad"));
            demandFault(opened.getFailures().get("bad"), KmsException.class, 202);
        });
        check("batch encrypting twice is refused document by document", () -> {
            EncryptedDocument once = got(client.encrypt(person(), forDocument(GCP)));
            BatchResult<EncryptedDocument> result = got(client.encryptBatch(
                    Map.of("fresh", person(), "encrypted", once.getEncryptedFields()), forDocument(GCP)));
            demandEqual(Set.copyOf(result.getSuccesses().keySet()), Set.of("fresh"));
            demandFault(result.getFailures().get("encrypted"), TscException.class, 901);
        });
        check("fifty batches of twenty-five, one after the other", () -> {
            Map<String, Map<String, byte[]>> plain = new HashMap<>();
            for (int number = 0; number < 25; number++) {
                plain.put("document " + number, Map.of("body", text("text " + number)));
            }
            for (int round = 0; round < 50; round++) {
                batchRoundtrip("tenant-gcp", plain);
            }
        });
    }
}
