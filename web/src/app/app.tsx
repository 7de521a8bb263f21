/** Which page is shown where. */

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";

import { withQuery } from "../api/client.ts";
import type { Organisation } from "../api/types.ts";
import { AccountPage } from "../pages/account/account.tsx";
import { ApiDocsPage } from "../pages/account/api-docs.tsx";
import { OrganisationsPage } from "../pages/account/organisations.tsx";
import { AuditPage } from "../pages/shared/audit.tsx";
import { PeoplePage } from "../pages/shared/people.tsx";
import { InvitationPage } from "../pages/start/invitation.tsx";
import { SetUp } from "../pages/start/set-up.tsx";
import { SignIn } from "../pages/start/sign-in.tsx";
import { ApprovalsPage } from "../pages/tenant/approvals.tsx";
import { DestinationsPage, NewDestinationPage } from "../pages/tenant/destinations.tsx";
import { TenantHome } from "../pages/tenant/home.tsx";
import { NewKmsPage, RotateKmsPage } from "../pages/tenant/kms-edit.tsx";
import { KmsPage } from "../pages/tenant/kms.tsx";
import { TenantSettings } from "../pages/tenant/settings.tsx";
import { ApiKeysPage } from "../pages/vendor/api-keys.tsx";
import { ConfigsPage, EditConfigPage, NewConfigPage } from "../pages/vendor/configs.tsx";
import { FleetPage } from "../pages/vendor/fleet.tsx";
import { VendorHome } from "../pages/vendor/home.tsx";
import { SecretsPage } from "../pages/vendor/secrets.tsx";
import { ServicesPage } from "../pages/vendor/services.tsx";
import { VendorSettings } from "../pages/vendor/settings.tsx";
import { TenantPage } from "../pages/vendor/tenant.tsx";
import { TenantsPage } from "../pages/vendor/tenants.tsx";
import { Charts } from "../pages/shared/activity.tsx";
import { Questions } from "../ui/dialog.tsx";
import { Card, Empty, Loading, PageHead } from "../ui/parts.tsx";
import { Toasts } from "../ui/toast.tsx";
import { Frame, Narrow } from "./frame.tsx";
import { Identity } from "./identity.tsx";
import { InOrganisation, useHere } from "./org.tsx";
import { match, navigate, usePlace } from "./router.ts";
import { firstHome, hasEnded, homeOf, loadSession, session } from "./session.ts";
import { useStore } from "./store.ts";

type Page = (parts: Record<string, string>) => ComponentChildren;

const VENDOR: readonly (readonly [string, Page])[] = [
    ["", () => <VendorHome />],
    ["/tenants", () => <TenantsPage />],
    ["/tenants/:tenant", ({ tenant = "" }) => <TenantPage key={tenant} tenant={tenant} />],
    ["/configs", () => <ConfigsPage />],
    ["/configs/new", () => <NewConfigPage />],
    ["/configs/:number", ({ number }) => <EditConfigPage number={Number(number)} />],
    ["/secrets", () => <SecretsPage />],
    ["/fleet", () => <FleetPage />],
    ["/services", () => <ServicesPage />],
    ["/api-keys", () => <ApiKeysPage />],
    ["/people", () => <PeoplePage />],
    ["/audit", () => <AuditPage />],
    ["/settings", () => <VendorSettings />],
];

const TENANT: typeof VENDOR = [
    ["", () => <TenantHome />],
    ["/kms", () => <KmsPage />],
    ["/kms/new", () => <NewKmsPage />],
    ["/kms/:number/credentials", ({ number }) => <RotateKmsPage key={number} number={Number(number)} />],
    ["/destinations", () => <DestinationsPage />],
    ["/destinations/new", () => <NewDestinationPage />],
    ["/activity", () => <ActivityPage />],
    ["/people", () => <PeoplePage />],
    ["/approvals", () => <ApprovalsPage />],
    ["/audit", () => <AuditPage />],
    ["/settings", () => <TenantSettings />],
];

function ActivityPage() {
    const { of } = useHere();
    return (
        <>
            <PageHead title="Activity" lead="How your keys were used in the last day. The full record, event by event, goes to your own SIEM." />
            <Charts vendor={of.vendor} tenant={of.tenant} />
        </>
    );
}

export function App() {
    return (
        <>
            <Pages />
            <Questions />
            <Identity />
            <Toasts />
        </>
    );
}

function Pages() {
    const { path } = usePlace();
    if (path === "/sign-in") {
        return <SignIn />;
    }
    if (path === "/set-up") {
        return <SetUp />;
    }
    if (path === "/invitation") {
        return <InvitationPage />;
    }
    return <SignedIn path={path} />;
}

function SignedIn({ path }: { path: string }) {
    const signedIn = useStore(session);
    useEffect(() => {
        if (signedIn === undefined) {
            void loadSession();
        } else if (signedIn === null) {
            navigate(withQuery("/sign-in", { next: path === "/" ? null : path, problem: hasEnded() ? "session-ended" : null }), "replace");
        } else if (path === "/") {
            navigate(firstHome(signedIn), "replace");
        }
    }, [signedIn, path]);
    if (!signedIn || path === "/") {
        return (
            <Narrow>
                <Loading />
            </Narrow>
        );
    }
    const common: Record<string, ComponentChildren> = {
        "/account": <AccountPage />,
        "/organisations": <OrganisationsPage />,
        "/api-docs": <ApiDocsPage />,
    };
    if (common[path] !== undefined) {
        const last = signedIn.organisations.find((each) => each.available && homeOf(each) === firstHome(signedIn));
        return <Frame of={last ?? null}>{common[path]}</Frame>;
    }
    const inTenant = match("/v/:vendor/t/:tenant/*", path);
    const inVendor = inTenant === null ? match("/v/:vendor/*", path) : null;
    const wanted = inTenant ?? inVendor;
    const of = signedIn.organisations.find((each) => each.available && each.vendor === wanted?.["vendor"] && each.tenant === (inTenant?.["tenant"] ?? null));
    const rest = wanted?.["rest"] ? `/${wanted["rest"]}` : "";
    return of === undefined ? <NotHere /> : <OrganisationPages of={of} rest={rest} />;
}

function OrganisationPages({ of, rest }: { of: Organisation; rest: string }) {
    for (const [pattern, page] of of.tenant === null ? VENDOR : TENANT) {
        const parts = pattern === "" ? (rest === "" ? {} : null) : match(pattern, rest);
        if (parts !== null) {
            return (
                <InOrganisation of={of} key={`${of.vendor} ${of.tenant}`}>
                    <Frame of={of}>{page(parts)}</Frame>
                </InOrganisation>
            );
        }
    }
    return <NotHere />;
}

function NotHere() {
    return (
        <Frame of={null}>
            <Card>
                <Empty icon="info" title="There is no such page, or it is not yours">
                    <p>
                        Go <a href="/">to your first page</a>, or switch the organisation.
                    </p>
                </Empty>
            </Card>
        </Frame>
    );
}
