package store

// led is the part of the condition to which an index leads: the sequences, and the first
// that is said of ids and words.
func (f LetterFilter) led() (c condition) {
	if !f.walked() {
		c = f.dead()
	}
	if f.Past != 0 || !f.unordered {
		c.add("seq > ?", f.Past)
	}
	if f.Until > 0 {
		c.add("seq <= ?", f.Until)
	}
	switch {
	case len(f.IDs) > 0:
		c.add("id in"+list(len(f.IDs)), listed(f.IDs)...)
	case !f.walked():
		first := f.words()[0]
		c.add(first.cond(), first.value)
	}
	return c
}

// walked reports whether letters are gone through in the order of their sequences, whether
// they are dead or removed, since no index leads to what the filter says: those by words
// have only the dead ones.
func (f LetterFilter) walked() bool {
	return len(f.IDs) == 0 && (f.Discarded || len(f.words()) == 0)
}

// A word is what a filter wants a field to be, by which letters have an index.
type word struct {
	field, value string
	term         bool // a term of the filter says so
}

// cond is the condition, without its value.
func (w word) cond() string {
	column, _ := fieldOf(w.field)
	return column + " = ?"
}

// words are the words of a filter and of its terms: the one that leads to the fewest
// letters first, if there is an index by it.
func (f LetterFilter) words() (out []word) {
	for _, w := range []word{
		{field: FieldGroup, value: f.Group}, {field: FieldKind, value: f.Kind}, {field: FieldQueue, value: f.Queue},
		{field: FieldType}, {field: FieldClass, value: f.Class},
	} {
		if w.value != "" {
			out = append(out, w)
		}
		for _, t := range f.Terms {
			if t.Field == w.field && t.word() {
				out = append(out, word{field: t.Field, value: t.Values[0], term: true})
			}
		}
	}
	return out
}

// word reports whether the term is a word.
func (t Term) word() bool {
	switch t.Field {
	case FieldGroup, FieldKind, FieldQueue, FieldType, FieldClass:
		return t.Op == OpIs && !t.Not && len(t.Values) == 1
	}
	return false
}

// Wide is the filter of all letters among which a search looks for those that f chooses:
// what an index leads to, or else dead and removed ones alike; and the bounds of time.
func (f LetterFilter) Wide() LetterFilter {
	words := f.words()
	f.either = f.walked()
	f.Group, f.Kind, f.Queue, f.Class, f.Reason, f.Terms = "", "", "", "", "", nil
	if len(f.IDs) > 0 || f.either {
		return f
	}
	switch first := words[0]; {
	case first.term:
		f.Terms = []Term{{Field: first.field, Op: OpIs, Values: []string{first.value}}}
	case first.field == FieldGroup:
		f.Group = first.value
	case first.field == FieldKind:
		f.Kind = first.value
	case first.field == FieldQueue:
		f.Queue = first.value
	default:
		f.Class = first.value
	}
	return f
}

// straight reports whether an index leads to every letter that the filter chooses, so that
// looking for some never passes many others.
func (f LetterFilter) straight() bool {
	if len(f.IDs) > 0 { // they are few
		return len(f.Terms) == 0
	}
	for _, t := range f.Terms {
		if !t.word() {
			return false
		}
	}
	return f.Reason == "" && !f.timed() && !f.Discarded && len(f.words()) <= 1
}
