// Package mirror is the sync planner: from what is known here and what the upstream says it computes what to ask next
// and what to change, as pure functions.
//
// Invariants:
//  1. A message is found gone only from a Census, a mailbox only from two Listings: both can be made from complete
//     answers only. Whatever ended early yields additions and flag changes, never a removal.
//  2. A name of the upstream and the name that clients see map onto each other reversibly (Codec), and two names
//     upstream are never one name here.
//  3. Local UIDs are never changed by a plan: a UIDVALIDITY reset gives known messages new upstream UIDs.
//  4. Nothing here reads a clock or does I/O; the same input gives the same plan.
package mirror
