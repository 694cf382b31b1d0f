//go:build !planted_settle_last

package store

import "context"

// do settles the units and then runs their effects: in this order nothing that an
// effect does to the transaction can keep the one without the other. The error is
// a fault of the store.
func (s *span) do(ctx context.Context) (fate, error) {
	s.culprit = nobody
	standing, err := s.settle(ctx)
	if err != nil {
		return wrecked, err
	}
	return s.effects(ctx, standing), nil
}
