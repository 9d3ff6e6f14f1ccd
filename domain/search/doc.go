// Package search holds what a SEARCH asks (a query tree) and decides whether a message matches.
//
// Text is compared as RFC 5051's i;unicode-casemap does, which RFC 5255 makes the default comparator of IMAP: each
// character in title case, then decomposed. So case does not count, "e" is found in "é" (whose decomposition begins
// with it), and "é" is not found in "e". Needles are substrings of the decoded text.
//
// Invariants:
//  1. A message is opened only when its row and its stored header lines leave the answer open, and read once, however
//     many needles there are.
//  2. Memory is bounded whatever the message's size: a needle's matcher keeps no more than the needle's length.
//  3. A match lies within one header field, or within one part's content.
//  4. No content makes a search fail; the only errors are those of Content.
package search
