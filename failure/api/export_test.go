package api

import "time"

// Routes lists what is served: method, path, and the parameters of the query.
func Routes() (out [][3]string) {
	for _, rt := range routes() {
		out = append(out, [3]string{rt.method, rt.path, rt.params})
	}
	return out
}

// Description is the OpenAPI file.
func Description() []byte { return description }

// AnswerWithin are the options with another bound of the time until an answer.
func (o Options) AnswerWithin(d time.Duration) Options {
	o.within = d
	return o
}
