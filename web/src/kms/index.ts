/** Every kind of KMS that can be set up here. */

import { AWS, AZURE, GCP } from "./clouds.ts";
import type { Provider } from "./model.ts";
import { LOCAL, THALES, VAULT } from "./own.ts";

export const KMS: readonly Provider[] = [AWS, AZURE, GCP, VAULT, THALES, LOCAL];

export function kmsName(type: string): string {
    return KMS.find((each) => each.type === type)?.name ?? type;
}
