"""Tiers: named, ordered sets of features, each a superset of the one below.

A tier adds breadth before periods: a50 and a100 hold what a practitioner expects to find, a200 and
a500 further ideas and horizons. No feature looks back more than 254 bars, so that every tier begins
on the same row (docs/decisions/0008). How different the features are from each other is measured in
docs/features.md.
"""

from __future__ import annotations

from itertools import accumulate

from finscale.errors import FeatureError
from finscale.features import (
    calendar,
    candle,
    candle_patterns,
    channel_extremes,
    channels,
    liquidity,
    momentum,
    money_flow,
    monthly_periods,
    oscillators,
    periods,
    price,
    range_volatility,
    regime,
    regime_durations,
    return_complexity,
    return_dependence,
    return_performance,
    return_quantiles,
    smoothed_oscillators,
    statistics,
    trend,
    trend_crossings,
    trend_regression,
    trend_strength,
    volatility,
    volatility_dynamics,
    volume,
)
from finscale.features.registry import REGISTRY, Feature

# Importing a module registers its features; naming the modules here makes sure that all are.
MODULES = (
    calendar,
    candle,
    candle_patterns,
    channel_extremes,
    channels,
    liquidity,
    momentum,
    money_flow,
    monthly_periods,
    oscillators,
    periods,
    price,
    range_volatility,
    regime,
    regime_durations,
    return_complexity,
    return_dependence,
    return_performance,
    return_quantiles,
    smoothed_oscillators,
    statistics,
    trend,
    trend_crossings,
    trend_regression,
    trend_strength,
    volatility,
    volatility_dynamics,
    volume,
)

# What each tier adds to the one below: a line or more for each family.
_ADDED = {
    "a25": """
        price: return_1 overnight_gap high_above_close low_below_close volume_ratio_20
        trend: sma_distance_10 sma_distance_20 sma_distance_50 ema_distance_12
            macd_histogram adx_14 aroon_oscillator_25
        momentum: return_5 return_10 rsi_14 stochastic_k_14 cci_20 bollinger_position_20
        volatility: log_natr_14 log_range log_realized_volatility_5
            log_realized_volatility_20 log_parkinson_volatility_10
        volume: money_flow_index_14 chaikin_money_flow_20
    """,
    "a50": """
        trend: sma_distance_200 sma_ratio_50_200 efficiency_ratio_20 regression_slope_60
        momentum: return_20 skipped_return_252_21 ultimate_oscillator_7_14_28
        volatility: log_realized_volatility_60 log_yang_zhang_volatility_30
            downside_variance_share_20 volatility_of_volatility_5_60
            parkinson_volatility_ratio_20_120
        volume: average_volume_ratio_5_20 return_volume_correlation_20
            illiquidity_ratio_5_60
        channels: distance_to_high_252
        candle: candle_body close_location_10
        statistics: one_percent_rise_share_10 return_skewness_60 return_autocorrelation_1_60
        regime: volatility_regime_duration_10_120_60
        calendar: turn_of_month
        periods: weekly_stochastic_14 month_to_date_return
    """,
    "a100": """
        trend: directional_balance_14 regression_r_squared_60 bars_since_sma_cross_50_50
            vortex_difference_14 choppiness_14 sma_slope_20_10
        momentum: volatility_scaled_return_60_250 percentage_price_oscillator_12_26
            connors_rsi_3_2_100 overnight_return_20 stochastic_d_14_3 return_acceleration_20
        volatility: log_garman_klass_volatility_3 leverage_correlation_60
            bipower_jump_share_20 realized_volatility_rank_20_120 log_ulcer_index_14
            overnight_variance_share_20 parkinson_to_realized_20 range_surprise_20
            log_downside_deviation_20
        volume: signed_volume_30 volume_variation_20 force_index_13 vwap_distance_35
            corwin_schultz_spread_20 volume_trend_40
        channels: donchian_position_55 log_squeeze_20 bars_since_high_252
        candle: lower_shadow_share upper_shadow_share bar_overlap_5 inside_bar_share_10
            engulfing_balance_10
        statistics: sharpe_ratio_20 max_drawdown_60 log_return_kurtosis_120
            variance_ratio_5_60 hurst_exponent_120 permutation_entropy_60
        regime: turbulence_probability_60 market_phase_60_190 bars_since_one_percent_rise_20
        calendar: weekday_cosine weekday_sine days_since_session
        periods: weekly_return_1 monthly_return_6 close_to_weekly_high
    """,
    "a200": """
        trend: sma_cross_share_20_60 fractal_dimension_60 trend_strength_change_7_10
            ichimoku_cloud_distance_9_26_52 close_above_sma_share_60 low_to_high_time_120
            higher_bar_balance_20 hull_distance_16 bars_since_averages_cross_20_100_100
            trend_intensity_30 ribbon_order_10_60 vertical_horizontal_filter_90
            random_walk_index_40 sma_curvature_100_50
        momentum: streak_8 rising_share_60 information_discreteness_250 relative_strength_2
            gain_loss_size_60 reversal_share_60 chande_momentum_120 fisher_transform_10
            balance_of_power_14 return_rank_20_120 momentum_divergence_14_60 detrended_price_20
            demarker_14
        volatility: parkinson_volatility_ratio_5_20 log_realized_volatility_252
            rogers_satchell_to_parkinson_20 har_range_contrast_22_66
            ewma_volatility_ratio_8_32 volatility_surprise_32 range_autocorrelation_60
            range_rank_7 upside_range_share_20 since_largest_move_60 log_largest_move_20
            realized_volatility_change_20 range_growth_20 return_range_correlation_60
            median_to_realized_120 close_to_typical_volatility_60
        volume: up_down_volume_ratio_60 ease_of_movement_14 chaikin_money_flow_60
            volume_to_range_20 roll_spread_60 kyle_impact_60 size_volume_correlation_60
            vwap_to_average_40 abdi_ranaldo_spread_40 volume_rank_50
            negative_volume_return_60
        channels: distance_to_low_60 donchian_breakout_20 regression_channel_position_60
            pivot_distance_1 range_overlap_20 band_width_rank_20_120
            swing_high_distance_5_60
        candle: average_upper_shadow_20 average_lower_shadow_5 gap_balance_20 body_share_20
            hammer_10 doji_share_20 breakout_balance_20 candle_run_8 joined_candle_body_10
        statistics: calmar_ratio_60 return_zscore_10 squared_return_autocorrelation_1_120
            tail_asymmetry_250 runs_test_120 dickey_fuller_correlation_60
            rise_fall_balance_60 extreme_return_share_20_120 one_percent_fall_share_60
            katz_dimension_20 rescaled_range_240 horizon_autocorrelation_20_200
        regime: variance_break_120 calm_rise_share_60 cusum_fall_60
            trend_sign_persistence_120_20 bars_since_three_percent_fall_250
            momentum_duration_120_130
        calendar: year_cosine year_sine month_progress option_expiry_week
        periods: log_weekly_range weekly_range_ratio_13 close_to_monthly_low
            weekly_volume_ratio_13 monthly_close_position earlier_monthly_return_6
            weekly_breakout weekly_autocorrelation_30
    """,
    "a500": """
        trend: regression_r_squared_250 efficiency_ratio_10 efficiency_ratio_120
            fractal_dimension_20 fractal_dimension_120 sma_cross_share_50_120
            sma_cross_share_10_20 ribbon_width_10_60 ichimoku_cloud_thickness_9_26_52
            bars_since_averages_cross_50_200_50 bars_since_averages_cross_5_20_40
            sma_rising_run_10_20 sma_rising_run_50_50 regression_r_squared_20
            regression_r_squared_120 choppiness_50 higher_bar_balance_60 low_to_high_time_10
            bars_since_sma_cross_20_20 bars_since_sma_cross_200_50
            directional_movement_up_14 directional_movement_down_14 trend_strength_7
            qstick_8 qstick_30 quadratic_bend_60 regression_slope_change_60
            vortex_difference_42 trend_trigger_15 averages_below_close_5_200
            return_since_sma_cross_20_20 time_correlation_40 kendall_trend_15
            rainbow_oscillator_10 heikin_ashi_body ichimoku_conversion_base_9_26
            ribbon_order_25_200 hull_slope_16 sma_ratio_5_20
        momentum: reversal_share_250 gain_loss_size_250 pullback_5_60 pullback_10_250
            extreme_return_balance_120 extreme_return_balance_20 detrended_price_60
            detrended_price_120 information_discreteness_60 overnight_return_5
            overnight_return_60 longest_streak_balance_20_8 reversal_share_20
            rising_block_share_21 rising_block_share_10 momentum_divergence_14_20
            demark_setup_9 stochastic_momentum_place_40 skipped_return_252_126
            skipped_return_63_21 true_strength_signal_gap_25_13_7
            relative_vigor_signal_gap_10 know_sure_thing_signal_gap_9
            stochastic_k_less_d_60_10 rising_share_10
            return_rank_60_180 return_rank_1_100 return_acceleration_60
            return_acceleration_120 streak_return_8 cci_5 return_3
            chande_momentum_9 fisher_transform_60 momentum_agreement_5_250
            intraday_less_overnight_return_120 rsi_14_change_20 relative_momentum_20_5
            volatility_scaled_return_5_60 true_strength_25_13
        volatility: log_quarticity_ratio_20 chaikin_volatility_10 largest_move_share_5
            since_narrowest_range_20 high_to_low_volatility_20 range_growth_5
            log_overnight_volatility_120 since_widest_range_20 log_upside_deviation_5
            leverage_correlation_250 range_roughness_60 variance_entropy_10
            overnight_intraday_correlation_20 bipower_jump_share_250 widest_range_ratio_10
            relative_volatility_index_60 since_widest_range_60 since_largest_move_250
            log_downside_deviation_5 largest_move_share_250 turbulent_share_5_20_20
            range_autocorrelation_20 median_to_realized_10 range_growth_250
            return_range_correlation_252 rogers_satchell_to_parkinson_252
            log_range_dispersion_20 widest_range_ratio_60 volatility_of_volatility_5_20
            high_to_low_volatility_60 relative_volatility_index_14
            overnight_intraday_correlation_250 overnight_variance_share_5 range_surprise_1
            volatility_persistence_60 lively_range_share_30_120
            downside_deviation_ratio_10_120 wide_range_share_10_60 range_roughness_250
            volatility_of_volatility_10_120 log_overnight_volatility_20
            historical_volatility_ratio_6_100 realized_volatility_change_5
            range_variation_252 log_window_range_10 realized_volatility_place_20_60
            realized_volatility_rank_10_240 mass_index_25 log_ulcer_index_120
            har_range_surprise_22 log_realized_volatility_120 downside_variance_share_250
        volume: volume_autocorrelation_230 volume_below_to_above_20
            volume_lead_correlation_250 volume_weighted_volatility_ratio_10
            volume_skewness_120 since_largest_volume_20 vwap_place_250 volume_reversal_20
            volume_autocorrelation_20 money_volume_ratio_40_120
            signed_volume_autocorrelation_250 volume_lead_correlation_20
            corwin_schultz_spread_5 volume_range_correlation_20 volume_strength_5
            largest_volume_ratio_60 volume_confirmation_10 positive_volume_return_250
            volume_skewness_40 abdi_ranaldo_spread_10 volume_change_1 vwap_place_20
            order_imbalance_50 volume_change_dispersion_10 since_largest_volume_60
            vwap_to_average_10 kyle_impact_250 volume_below_to_above_120 signed_volume_3
            busy_share_10_20 volume_variation_5 roll_spread_250 volume_change_120
            illiquidity_ratio_60_252 volume_weighted_volatility_ratio_120 volume_entropy_30
            force_index_2 money_flow_index_40 volume_strength_14
        channels: distance_to_low_252 swing_low_distance_5_60 bars_since_low_252
            range_asymmetry_40 range_asymmetry_120 gap_beyond_range_1 log_width_ratio_5_20
            log_width_ratio_20_120 high_streak_8 low_streak_8 open_position_5
            band_break_balance_20_60 new_extreme_balance_20_60 new_extreme_balance_120_120
            leg_position_20 leg_position_250 projection_position_14 bars_since_high_60
            bars_since_low_60 band_position_change_50_20 donchian_breakout_120
            keltner_position_5
        candle: close_location_lead_60 outside_bar_share_60 colour_change_share_10
            failed_breakout_balance_40 gap_fill_share_20 harami_share_20 high_unevenness_10
            close_location_autocorrelation_20 low_unevenness_3 gap_follow_through_10
            joined_lower_shadow_60 breakout_share_60 marubozu_balance_40
            joined_upper_shadow_3 close_location_dispersion_10 colour_change_share_120
            soldiers_and_crows_3 body_persistence_5 outside_bar_share_20 gap_share_120
            bar_overlap_1 inside_bar_share_60 joined_lower_shadow_3
            wide_bar_close_balance_40 joined_upper_shadow_60 shooting_star_10
            gap_to_range_20 body_expansion_10
        statistics: return_skewness_250 sharpe_ratio_250 max_drawdown_250
            variance_ratio_20_240 hurst_exponent_240 return_autocorrelation_1_240
            one_percent_rise_share_60 rescaled_range_60 permutation_entropy_240
            sign_entropy_60 scaled_return_entropy_60 katz_dimension_120 longest_gain_run_60
            longest_loss_run_60 cycle_power_5_60 cycle_power_20_120
            return_autocorrelation_1_20 return_autocorrelation_2_60
            return_autocorrelation_5_60 squared_return_autocorrelation_2_120
            absolute_return_partial_autocorrelation_240 variance_ratio_10_120
            horizon_autocorrelation_5_120 coarse_fine_volatility_correlation_5_120
            time_reversal_asymmetry_60 dickey_fuller_correlation_240 sortino_ratio_40
            rise_fall_balance_250 tail_asymmetry_60 tail_weight_60 tail_weight_250
            mean_median_gap_60 scaled_value_at_risk_250 return_skewness_20
            log_return_kurtosis_20 one_percent_fall_share_10 absolute_return_variation_20
            extreme_gain_share_balance_60_120
        regime: bars_since_two_percent_move_60 bars_since_one_percent_fall_20
            variance_break_age_120 wide_range_probability_60 volatility_ladder_5_160
            stressed_fall_share_20 rally_share_60_190 volatility_regime_changes_60
            trend_following_share_60_20 trend_sign_persistence_60_5 cusum_rise_60
            bars_since_three_percent_rise_250 bars_since_extreme_return_120_60
            swing_regime_20_120
        calendar: weekdays_missed quarter_progress turn_of_year quarterly_expiry_week
            session_density_20
        periods: week_to_date_return weekly_return_4 monthly_return_1 monthly_return_3
            log_weekly_volatility_13 weekly_close_position close_to_weekly_low
            close_to_monthly_high log_monthly_range weekly_streak_8 weekly_choppiness_8
            earlier_monthly_return_1 monthly_range_ratio_6 log_monthly_volatility_7
            monthly_sma_distance_7 monthly_volume_ratio_6 weekly_return_13
            weekly_stochastic_5 weekly_sma_distance_10 weekly_relative_strength_14
            rising_week_share_13 weekly_range_overlap monthly_range_overlap
    """,
}


def _names(added: str) -> tuple[str, ...]:
    """Return the names in a tier's lines; a word that ends in a colon is a family."""
    return tuple(word for word in added.split() if not word.endswith(":"))


TIERS: dict[str, tuple[str, ...]] = dict(
    zip(_ADDED, accumulate(map(_names, _ADDED.values())), strict=True)
)


def tier_features(tier: str) -> tuple[Feature, ...]:
    """Return the features of a tier, in their fixed order.

    Raises
    ------
    FeatureError
        If there is no such tier.
    """
    if tier not in TIERS:
        raise FeatureError(f"unknown tier {tier!r}; choose one of {', '.join(TIERS)}")
    return tuple(REGISTRY[name] for name in TIERS[tier])
