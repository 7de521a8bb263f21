/** Stands in for Node's `crypto`, which our libraries ask for only where there is no WebCrypto. */

throw new Error("this browser has no WebCrypto");
export {};
