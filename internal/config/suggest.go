package config

// Suggest returns the candidate that s was probably meant to be, or "".
func Suggest(s string, candidates []string) string {
	best, distance := "", max(2, len(s)/3)+1
	for _, c := range candidates {
		if d := editDistance(s, c); d < distance && d < max(len(s), len(c)) {
			best, distance = c, d
		}
	}
	return best
}

// editDistance counts the letters to insert, delete, change or swap with their
// neighbour (the optimal string alignment distance).
func editDistance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 100 || len(y) > 100 {
		return max(len(x), len(y))
	}
	older, old, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range old {
		old[j] = j
	}
	for i := range x {
		row[0] = i + 1
		for j := range y {
			change := 1
			if x[i] == y[j] {
				change = 0
			}
			row[j+1] = min(old[j+1]+1, row[j]+1, old[j]+change)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], older[j-1]+1)
			}
		}
		older, old, row = old, row, older
	}
	return old[len(y)]
}
