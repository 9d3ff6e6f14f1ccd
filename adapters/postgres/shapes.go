package postgres

// Statements about many rows have one of the shapes below. Each has exactly one plan, whatever the planner believes about
// the tables: it multiplies how rare an account is by how rare a mailbox is, comes to the conclusion that a mailbox has one
// message, and then reads all of it for each of a list. OFFSET 0 keeps a part of a statement from being merged with the
// rest, and a partial index whose condition always holds serves those statements alone that repeat the condition.

// spans is the ranges of UIDs that $3 and $4 bound.
const spans = `unnest($3::bigint[], $4::bigint[]) AS u (first, last)`

// inMailbox begins the condition for rows of mailbox $2 of account $1, called x.
const inMailbox = `x.account_id = $1 AND x.mailbox_id = $2 `

// pick returns the rows of a table with the UIDs of spans, as what follows FROM: one look into the primary key a range.
func pick(table, as, and string) string {
	return spans + each(table, as, `AND x.uid BETWEEN u.first AND u.last `+and)
}

// each joins, to each row on the left, the rows of the mailbox that meet a condition, one look into an index each.
func each(table, as, and string) string {
	return ` CROSS JOIN LATERAL (SELECT x.ctid AS place, x.* FROM ` + table + ` x WHERE ` + inMailbox + and + ` OFFSET 0) ` + as + ` `
}

// ids joins, to the ids of $2, the rows of a table of account $1 that have them.
func ids(table, as string) string {
	return `unnest($2::bigint[]) AS u (id) CROSS JOIN LATERAL (SELECT x.ctid AS place, x.* FROM ` + table + ` x
		WHERE x.account_id = $1 AND x.id = u.id OFFSET 0) ` + as + ` `
}

// byID is those for the rows with the ids of $2.
func byID(table string) string {
	return ` ctid = ANY (ARRAY(SELECT p.place FROM ` + ids(table, "p") + `)) AND account_id + 0 = $1 `
}

// those is the condition, for UPDATE and DELETE, that is met by the rows that pick finds. They are found by their places;
// nobody else moves them, as the account's lock is held. The sum, which no index serves, keeps rows of other partitions out.
func those(table, and string) string {
	return ` ctid = ANY (ARRAY(SELECT p.place FROM ` + pick(table, "p", and) + `)) AND account_id + 0 = $1 `
}
