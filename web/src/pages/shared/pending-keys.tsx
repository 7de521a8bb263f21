/**
 * People whose keys do not count yet. A proof that came with the invitation settles it; else two people compare
 * fingerprints. Then the manifest (for a vendor's people) or the tenant's authors name the key.
 */

import type { PendingAuthor } from "../../api/types.ts";
import { myKeys } from "../../app/identity.tsx";
import { useHere } from "../../app/org.tsx";
import { session } from "../../app/session.ts";
import { useLoad } from "../../app/store.ts";
import { changeTenant, readTenant } from "../../app/tenant-documents.ts";
import { mySeeds, publish, type Trust } from "../../app/trust.ts";
import { nextManifest, wrapSeed, seedName } from "../../trust/authoring.ts";
import * as documents from "../../trust/documents.ts";
import { fingerprint, keyId } from "../../trust/names.ts";
import { isProved, verifyClaim } from "../../trust/people.ts";
import { ask } from "../../ui/dialog.tsx";
import { Badge, Button, Card, Fingerprint, Note } from "../../ui/parts.tsx";
import { toast } from "../../ui/toast.tsx";
import type { LoadedAuthors } from "./people.tsx";

export function PendingKeys({ tenant, trust, authors, done }: { tenant: string | null; trust: Trust; authors: LoadedAuthors; done: () => void }) {
    const { of } = useHere();
    const pending = authors.data?.filter((each) => each.status === "pending" && each.role !== "auditor" && each.person !== session.value?.person.id) ?? [];
    if (pending.length === 0) {
        return null;
    }
    return (
        <Card title="Keys that do not count yet">
            <p class="muted">
                These people made their keys. Until somebody {of.tenant === null ? "whose key counts" : `at ${of.vendorName}`} lets them in, what they sign is not believed.
            </p>
            {pending.map((each) => (
                <Pending key={each.person} author={each} trust={trust} tenant={tenant} done={done} />
            ))}
        </Card>
    );
}

/** Judge a claim by ourselves: the broker's opinion counts for nothing. */
function useJudged(author: PendingAuthor, trust: Trust, tenant: string | null) {
    return useLoad(async () => {
        const claimSigned = documents.signed(author.claim, "claim");
        const claim = await verifyClaim(claimSigned);
        const enrolment = {
            claim: claimSigned,
            invitation: author.invitation === null ? null : documents.signed(author.invitation, "invitation"),
            proof: author.proof === null ? null : documents.signed(author.proof, "proof"),
        };
        const whom = { vendor: trust.chain.manifest.vendor, tenant: tenant ?? "", email: author.email };
        const authors = tenant === null ? trust.chain.authors : (await readTenant(trust, tenant)).authors;
        return { claim, proved: await isProved(trust.chain, authors, whom, enrolment), fingerprint: await fingerprint(claim.public) };
    }, [author.person, author.keyId]);
}

export function Pending({ author, trust, tenant, done }: { author: PendingAuthor; trust: Trust; tenant: string | null; done: () => void }) {
    const { of, mayChange } = useHere();
    const judged = useJudged(author, trust, tenant);
    const mayApprove = mayChange && of.tenant === null;
    if (judged.data === undefined) {
        return judged.failure === undefined ? null : <Note tone="bad">The claim of {author.email} to a key is not good: it was not signed with that key.</Note>;
    }
    const { claim, proved, fingerprint: whole } = judged.data;
    const approve = async () => {
        await (tenant === null ? approveForVendor(trust, author.name || author.email, claim) : approveForTenant(trust, tenant, author.name || author.email, claim));
        toast(`${author.name || author.email} can sign now.`);
        done();
    };
    const compare = () =>
        ask({
            title: `Is this the key of ${author.name || author.email}?`,
            consequence: (
                <>
                    <p>Call them, and have them read the words on their account page to you. Whoever's key you let in can change what is believed here.</p>
                    <Fingerprint value={whole} />
                </>
            ),
            action: "The words are the same",
            act: approve,
        });
    return (
        <div class="row between">
            <div class="stack tight grow">
                <span class="strong">{author.name || author.email}</span>
                <span class="muted small break">{author.email}</span>
            </div>
            {proved ? <Badge tone="good">proved by the invitation</Badge> : <Badge tone="warn">to be compared</Badge>}
            {mayApprove && (
                <Button small look="primary" act={proved ? approve : compare}>
                    {proved ? "Let the key in" : "Compare and let in"}
                </Button>
            )}
        </div>
    );
}

async function approveForTenant(trust: Trust, tenant: string, name: string, claim: { public: documents.Author["public"] }): Promise<void> {
    const state = await readTenant(trust, tenant);
    const author: documents.TenantAuthor = { public: claim.public, name, may: ["tenant-record", "config"] };
    await changeTenant(trust, state, { ownAuthors: [...state.ownAuthors, author] });
}

async function approveForVendor(trust: Trust, name: string, claim: { public: documents.Author["public"]; encryption: documents.Author["public"] }): Promise<void> {
    const { chain, wraps } = trust;
    const { signing } = await myKeys();
    const seeds = await mySeeds(trust);
    const author: documents.Author = { public: claim.public, name, tenant: documents.SHARED, may: ["tenant-record", "config", "tenant-authors", "head"] };
    const manifest = await nextManifest(chain.manifest, { authors: [...chain.manifest.authors, author] }, signing);
    const recipient = await keyId(claim.encryption);
    const added: documents.SegmentWrap[] = [];
    for (const segment of chain.manifest.segments) {
        const seed = seeds.get(seedName(segment.id, segment.epoch));
        if (seed !== undefined && !wraps.some((each) => each.recipient === recipient && each.segment === segment.id && each.epoch === segment.epoch)) {
            added.push(await wrapSeed(chain.manifest.vendor, segment, seed, { suite: 1, public: claim.encryption }));
        }
    }
    await publish(trust, { manifest, wraps: [...wraps, ...added] });
}
