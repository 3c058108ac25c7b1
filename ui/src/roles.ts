/** What somebody may do here; the gateway decides, this only leaves out what it would refuse. */

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Me } from "./types";

export type Role = "viewer" | "approver" | "auditor" | "admin";

/** Nobody in particular where the gateway does not say who asks. */
export const Myself = createContext<Me | null>(null);

export function may(me: Me | null, role: Role): boolean {
  return me === null || me.roles.some((one) => one.role === role || one.role === "admin");
}

export function useMe(): Me | null {
  return useContext(Myself);
}

export function useMay(role: Role): boolean {
  return may(useContext(Myself), role);
}
