package conformance;

import static conformance.World.base64;
import static conformance.World.demand;
import static conformance.World.demandSame;
import static conformance.World.forDocument;
import static conformance.World.forField;
import static conformance.World.fromBase64;
import static conformance.World.got;
import static conformance.World.random;

import com.ironcorelabs.tenantsecurity.kms.v1.DeterministicEncryptedField;
import com.ironcorelabs.tenantsecurity.kms.v1.DeterministicPlaintextField;
import com.ironcorelabs.tenantsecurity.kms.v1.EncryptedDocument;
import com.ironcorelabs.tenantsecurity.kms.v1.TenantSecurityClient;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Writes specimens for other clients to read ({@code write FILE}) and reads theirs ({@code read FILE}).
 *
 * <p>The shape of a specimen is told in {@code node/exchange.js}.
 */
public final class Exchange {
    private final TenantSecurityClient client;

    private Exchange(TenantSecurityClient client) {
        this.client = client;
    }

    /** One encrypted document or field, in the members that every client's program knows. */
    private static final class Specimen {
        String name;
        String kind;
        String tenant;
        String plaintext;
        String edek;
        String ciphertext;
        String secretPath;
        String derivationPath;

        Specimen(String name, String kind, String tenant, byte[] plaintext, byte[] ciphertext) {
            this.name = name;
            this.kind = kind;
            this.tenant = tenant;
            this.plaintext = base64(plaintext);
            this.ciphertext = base64(ciphertext);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Path file = Path.of(arguments[1]);
        try (TenantSecurityClient client = World.clientOf(World.PROXY_URL, World.API_KEY)) {
            Exchange exchange = new Exchange(client);
            switch (arguments[0]) {
                case "write" -> Files.writeString(file, World.GSON.toJson(exchange.write()), StandardCharsets.UTF_8);
                case "read" -> exchange.read(Files.readString(file, StandardCharsets.UTF_8));
                default -> throw new IllegalArgumentException(arguments[0]);
            }
        }
        System.exit(0);
    }

    private Specimen document(String name, String tenant) throws Exception {
        byte[] plain = random(777);
        EncryptedDocument encrypted = got(client.encrypt(Map.of("body", plain), forDocument(tenant)));
        Specimen made = new Specimen(name, "document", tenant, plain, encrypted.getEncryptedFields().get("body"));
        made.edek = encrypted.getEdek();
        return made;
    }

    private Specimen rekeyed(String name, String from, String to) throws Exception {
        Specimen made = document(name, from);
        made.edek = got(client.rekeyEdek(made.edek, forDocument(from), to));
        made.tenant = to;
        return made;
    }

    private Specimen streamed(String name, String tenant) throws Exception {
        byte[] plain = random(300_000);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        String edek = got(client.encryptStream(new ByteArrayInputStream(plain), out, forDocument(tenant))).getEdek();
        Specimen made = new Specimen(name, "document", tenant, plain, out.toByteArray());
        made.edek = edek;
        return made;
    }

    private Specimen field(String name, String tenant) throws Exception {
        DeterministicPlaintextField plain = World.plainField(random(33), "exchange", "column/1");
        DeterministicEncryptedField encrypted =
                got(client.getDeterministicClient().encryptField(plain, forField(tenant)));
        Specimen made =
                new Specimen(name, "field", tenant, plain.getPlaintextField(), encrypted.getEncryptedField());
        made.secretPath = plain.getSecretPath();
        made.derivationPath = plain.getDerivationPath();
        return made;
    }

    private List<Specimen> write() throws Exception {
        return List.of(
                document("document", "tenant-gcp"),
                document("leased document", "tenant-gcp-l"),
                rekeyed("rekeyed document", "tenant-aws", "tenant-azure"),
                rekeyed("document rekeyed to leased", "tenant-gcp", "tenant-gcp-l"),
                streamed("streamed document", "tenant-gcp"),
                field("field", "tenant-gcp"));
    }

    private void read(String json) {
        Map<String, World.Check> checks = new LinkedHashMap<>();
        for (Specimen specimen : World.GSON.fromJson(json, Specimen[].class)) {
            checks.put(specimen.name, () -> {
                if (specimen.kind.equals("document")) {
                    readDocument(specimen);
                } else {
                    readField(specimen);
                }
            });
        }
        World.run(checks);
    }

    private void readDocument(Specimen specimen) throws Exception {
        Map<String, byte[]> encrypted = Map.of("body", fromBase64(specimen.ciphertext));
        var opened = got(client.decrypt(new EncryptedDocument(encrypted, specimen.edek), forDocument(specimen.tenant)));
        demandSame(opened.getDecryptedFields(), Map.of("body", fromBase64(specimen.plaintext)));
    }

    private void readField(Specimen specimen) throws Exception {
        byte[] ciphertext = fromBase64(specimen.ciphertext);
        var fields = client.getDeterministicClient();
        var field = World.encryptedField(ciphertext, specimen.secretPath, specimen.derivationPath);
        DeterministicPlaintextField opened = got(fields.decryptField(field, forField(specimen.tenant)));
        demand(Arrays.equals(opened.getPlaintextField(), fromBase64(specimen.plaintext)), "the field differs");
        var plain = World.plainField(opened.getPlaintextField(), specimen.secretPath, specimen.derivationPath);
        DeterministicEncryptedField again = got(fields.encryptField(plain, forField(specimen.tenant)));
        demand(Arrays.equals(again.getEncryptedField(), ciphertext), "both clients must write the same field");
    }
}
