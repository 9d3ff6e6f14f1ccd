// Package redis carries hints and calls between nodes, counts failed logins for all of them, and keeps which nodes are
// alive. Redis is never truth: without it a node has its own hints and counts, and goes on.
//
// Invariants:
//  1. Nothing but Client.keep, its child adjust, Client.send and Presence.announce waits for the network on its own account;
//     Close waits for the first three, Leave for the last. Publish, Subscribe, Send and Nodes never wait, whether Redis is
//     there or not.
//  2. The client is either connected or away. It is connected when the subscription to the channel of all is confirmed,
//     and away from the first command or subscription that fails or is silent. The log hears of each change, and of no
//     single failure.
//  3. Whenever a channel's subscription is confirmed, the first time and after every reconnection, whoever listens to it
//     looks at everything: hints may have been lost before.
//  4. A hint that is to be sent is kept until Redis has taken it, each number once with the highest value, at most maxPending
//     of them. When there are more they are forgotten, and everybody everywhere is told to look at everything instead. Calls
//     are kept, too, each once, at most maxCalls octets; what is more is dropped, and so is what is called while Redis is
//     away.
//  5. A hint that is not understood is a reason to look at everything, never an error; a call is dropped.
//  6. Lock order: Bus.mu, Client.mu, outbox.mu. None is held over a call of Redis or of a listener.
package redis
