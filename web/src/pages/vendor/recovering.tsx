/** Coming back with the recovery file: the root key lets a new key in, when nobody else is left who could. */

import { useState } from "preact/hooks";

import { myKeys } from "../../app/identity.tsx";
import { useHere } from "../../app/org.tsx";
import { session } from "../../app/session.ts";
import { publish, type Trust } from "../../app/trust.ts";
import { nextManifest, nextRoot, openSegments, seedName, wrapSeed } from "../../trust/authoring.ts";
import { utf8 } from "../../trust/bytes.ts";
import { type Author, SHARED, type SegmentWrap } from "../../trust/documents.ts";
import { openRecovery } from "../../trust/recovery.ts";
import { SigningKey } from "../../trust/signing.ts";
import { Form, TextField } from "../../ui/fields.tsx";
import { Button, Card } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";

/** The recovery file and its words, read in this browser and sent nowhere. */
export function RecoveryFields({ file, setFile, words, setWords }: { file: string; setFile: (text: string) => void; words: string; setWords: (words: string) => void }) {
    return (
        <>
            <div class="field">
                <label for="recovery-file">Recovery file</label>
                <p class="hint">{file === "" ? "It is read in this browser, and sent nowhere." : "Read."}</p>
                <input id="recovery-file" class="input" type="file" accept="application/json,.json" onChange={async (event) => setFile((await event.currentTarget.files?.[0]?.text()) ?? "")} />
            </div>
            <TextField label="Its eight words" name="words" value={words} set={setWords} />
        </>
    );
}

/** Let my own key in, by the root's. */
async function recover(trust: Trust, file: string, words: string): Promise<void> {
    const { chain, wraps } = trust;
    const { file: kept, seeds } = await openRecovery(utf8(file), words);
    if (kept.vendor !== chain.manifest.vendor || kept.rootFingerprint !== chain.rootFingerprint) {
        throw new Error(`This is the recovery file of ${kept.vendor}, or of another root key.`);
    }
    const mine = await myKeys();
    const rootKey = await SigningKey.fromSeed(seeds.root);
    const root = await nextRoot(chain.root, [...chain.root.keys, { public: mine.signing.public, signs: ["manifest", "head"] }], rootKey);
    const segmentSeeds = await openSegments(chain.manifest, wraps, seeds.encryption);
    seeds.root.fill(0);
    seeds.encryption.fill(0);
    const name = session.value?.person.name || session.value?.person.email || "owner";
    const author: Author = { public: mine.signing.public, name, tenant: SHARED, may: ["tenant-record", "config", "tenant-authors", "head"] };
    const manifest = await nextManifest(chain.manifest, { authors: [...chain.manifest.authors, author] }, mine.signing);
    const added: SegmentWrap[] = [];
    for (const segment of chain.manifest.segments) {
        const seed = segmentSeeds.get(seedName(segment.id, segment.epoch));
        if (seed !== undefined) {
            added.push(await wrapSeed(chain.manifest.vendor, segment, seed, { suite: 1, public: mine.encryptionPublic }));
        }
    }
    await publish(trust, { root, manifest, wraps: [...wraps, ...added] });
}

export function Recovering({ trust, done }: { trust: Trust; done: () => void }) {
    const { of } = useHere();
    const [open, setOpen] = useState(false);
    const [file, setFile] = useState("");
    const [words, setWords] = useState("");
    const send = async () => {
        await recover(trust, file, words);
        toast("Your key counts again. Take the keys that were lost out under Settings.");
        done();
    };
    return (
        <Card title="Your key does not count yet">
            <p>
                What you sign for {of.vendorName} is not believed until somebody whose key counts lets yours in: they find you on this page. If nobody is left who could, the recovery file can.
            </p>
            {open ? (
                <Form
                    send={send}
                    action="Let my key in"
                    ready={file !== "" && words.trim() !== ""}
                    extra={
                        <Button look="quiet" act={() => setOpen(false)}>
                            Cancel
                        </Button>
                    }
                >
                    <RecoveryFields file={file} setFile={setFile} words={words} setWords={setWords} />
                </Form>
            ) : (
                <div>
                    <Button act={() => setOpen(true)}>Use the recovery file</Button>
                </div>
            )}
        </Card>
    );
}
