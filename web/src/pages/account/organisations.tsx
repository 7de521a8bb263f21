/** Every organisation that the person belongs to. */

import { homeOf, session } from "../../app/session.ts";
import { goToSso } from "../../app/sso.ts";
import { useStore } from "../../app/store.ts";
import { Badge, Button, Card, Empty, Link, PageHead } from "../../ui/parts.tsx";

export function OrganisationsPage() {
    const organisations = useStore(session)?.organisations ?? [];
    return (
        <>
            <PageHead title="Your organisations" />
            <Card>
                {organisations.length === 0 && (
                    <Empty icon="people" title="You belong to none yet">
                        <p>Ask somebody there for an invitation to your e-mail address.</p>
                    </Empty>
                )}
                {organisations.map((each) => (
                    <div class="row between" key={homeOf(each)}>
                        <div class="stack tight grow">
                            {each.available ? (
                                <Link to={homeOf(each)} class="strong">
                                    {each.tenantName ?? each.vendorName}
                                </Link>
                            ) : (
                                <span class="strong">{each.tenantName ?? each.vendorName}</span>
                            )}
                            <span class="muted small">{each.tenant === null ? "vendor" : `at ${each.vendorName}`}</span>
                            {!each.available && <span class="small">{each.ssoRequired ? "It wants its own single sign-on." : "This session was begun for another organisation."}</span>}
                        </div>
                        {!each.available && each.ssoRequired && <Button act={() => goToSso(each.vendor, each.tenant, homeOf(each))}>Go on by single sign-on</Button>}
                        <Badge>{each.role}</Badge>
                    </div>
                ))}
            </Card>
        </>
    );
}
